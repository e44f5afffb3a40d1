# Two commands need nothing prepared: `make demo` and `make test`.
PYTHON ?= python3
BIN := .venv/bin
ADROIT := $(BIN)/adroit

# The demo's input: a published checkpoint and images where they are, else one trained on the spot.
#   make demo CHECKPOINT=file.pth ARCHITECTURE=adder-resnet20 IMAGES=folder-or.npz
CHECKPOINT ?= $(wildcard ../shared/data/addernet/ResNet20-AdderNet.pth)
ARCHITECTURE ?= adder-resnet20
IMAGES ?= $(if $(wildcard ../shared/data/cifar10/cifar10_subset.npz),../shared/data/cifar10/cifar10_subset.npz:test)
DEMO := demo

.PHONY: install demo test fuzz lint format bench gpu-check clean

# The virtual environment, the packages and the native build. Re-made when their sources change.
install: .venv/installed
.venv/installed: pyproject.toml CMakeLists.txt $(shell find plugins -type f)
	@test -x $(BIN)/python || { echo "== making the virtual environment .venv"; $(PYTHON) -m venv .venv; }
	@echo "== installing packages and building the native operators (some minutes the first time)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[cpu,train,rtx,serve,dev]' 2>.venv/pip.log \
	    || { cat .venv/pip.log >&2; exit 1; }
	@touch $@

# From a checkpoint to a measured, parity-checked deployment.
demo: install
	@[ -n "$(CHECKPOINT)" ] && [ -z "$(IMAGES)" ] && { echo "give IMAGES too: a folder or an .npz" >&2; exit 2; } || true
	@rm -rf $(DEMO) && mkdir -p $(DEMO)
	@if [ -n "$(CHECKPOINT)" ] && [ -n "$(IMAGES)" ]; then \
	    echo "== importing $(CHECKPOINT)"; \
	    $(ADROIT) import $(ARCHITECTURE) "$(CHECKPOINT)" -o $(DEMO)/checkpoint && echo "$(IMAGES)" > $(DEMO)/images; \
	else \
	    echo "== no checkpoint given: training an adder network on handwritten digits (a minute or two)"; \
	    $(ADROIT) train digits-adder-lenet5 -o $(DEMO)/checkpoint && \
	    $(BIN)/python -m adroit.models.data.digits $(DEMO)/digits.npz && echo $(DEMO)/digits.npz > $(DEMO)/images; \
	fi
	@echo "== exporting to ONNX, with adroit's operators and with standard ones only"
	@$(ADROIT) export $(DEMO)/checkpoint -o $(DEMO)/repository --name native
	@$(ADROIT) export $(DEMO)/checkpoint -o $(DEMO)/repository --name portable --portable
	@echo "== checking them against the PyTorch network in float64"
	@$(ADROIT) check $(DEMO)/repository/native --data "$$(cat $(DEMO)/images)" $(OPERATORS)
	@$(ADROIT) check $(DEMO)/repository/portable --data "$$(cat $(DEMO)/images)" --images 64
	@echo "== running the deployment on the images"
	@$(ADROIT) run $(DEMO)/repository/native --data "$$(cat $(DEMO)/images)" --top 1 $(OPERATORS) \
	    -o $(DEMO)/outputs.npz > $(DEMO)/labels.txt && head -n 3 $(DEMO)/labels.txt
	@echo "== measuring them side by side"
	@$(ADROIT) profile $(DEMO)/repository/native $(DEMO)/repository/portable --runtime onnxruntime --runtime torch \
	    --threads 1 --seconds 3 --html $(DEMO)/report.html $(OPERATORS)
	@echo "== done: the report is $(CURDIR)/$(DEMO)/report.html, the deployment $(CURDIR)/$(DEMO)/repository/native"

# Where the native library could not be built, the demo runs the portable bodies and says so.
OPERATORS = $(eval OPERATORS := $$(shell $(BIN)/python -c "from adroit.deploy.runtimes.native import native_library; native_library()" \
    2>/dev/null || { echo "== no native operators here: the portable bodies run instead (slower)" >&2; \
    echo "--operators portable"; }))$(OPERATORS)

# `pytest -m "not slow"` leaves out what a developer need not run each time; here nothing is left out.
# Test files are shared out to WORKERS processes; without them (`pytest tests/FOLDER`) tests run one after the other.
WORKERS ?= 2
test: install
	@$(BIN)/python -m pytest --numprocesses $(WORKERS) --dist loadfile --durations=25

# Longer than the tests do: SECONDS for each target of tests/fuzz and of the server, from another SEED each time.
SECONDS ?= 600
SEED ?= $(shell date +%s)
fuzz: install
	@ADROIT_FUZZ_SECONDS=$(SECONDS) ADROIT_FUZZ_SEED=$(SEED) $(BIN)/python -m pytest --numprocesses $(WORKERS) \
	    --dist load tests/fuzz tests/deploy/serve/test_fuzzed.py

# Style, types, and the arrows between rooms. The same checks, before a commit: .pre-commit-config.yaml.
lint: install
	@$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy && $(BIN)/lint-imports
	@find plugins tests -name '*.cpp' -o -name '*.h' -o -name '*.cu' | xargs $(BIN)/clang-format --dry-run --Werror

format: install
	@$(BIN)/ruff check --fix . ; $(BIN)/ruff format .
	@find plugins tests -name '*.cpp' -o -name '*.h' -o -name '*.cu' | xargs $(BIN)/clang-format -i

bench: install
	@$(BIN)/python -m benchmarks.adder_conv
	@$(BIN)/python -m benchmarks.quantized_adder_conv
	@$(BIN)/python -m benchmarks.quantized_networks
	@$(BIN)/python -m benchmarks.adaptive_filter
	@$(BIN)/python -m benchmarks.routing_gate
	@$(BIN)/python -m benchmarks.skip_efficiency

# Everything that needs a GPU: kernels against float64, compute-sanitizer, speeds. A step that cannot run here
# is skipped with its reason. Nothing is installed: any Python with PyTorch and pytest will do.
#   make gpu-check GPU_PYTHON=python3
GPU_PYTHON ?= $(if $(wildcard $(BIN)/python),$(BIN)/python,$(PYTHON))
gpu-check:
	@$(GPU_PYTHON) -m tests.gpu.check

clean:
	rm -rf .venv build $(DEMO)
