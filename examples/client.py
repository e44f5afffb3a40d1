"""A client of `adroit serve` for image files. It needs Python's own library only: copy it into your program.

    python examples/client.py adder-resnet20 photo.jpg
    python examples/client.py street street.png --gflops 0.26 --map classes.png --token-file token

Clients of the Open Inference Protocol work too, with tensors instead of image files:

    import numpy, tritonclient.http                        # pip install 'tritonclient[http]'
    pixels = numpy.zeros((1, 32, 32, 3), numpy.uint8)      # N x H x W x RGB
    image = tritonclient.http.InferInput("image", pixels.shape, "UINT8")
    image.set_data_from_numpy(pixels)
    client = tritonclient.http.InferenceServerClient("127.0.0.1:8000")
    logits = client.infer("adder-resnet20", [image]).as_numpy("logits")
"""

from __future__ import annotations

import argparse
import base64
import json
import sys
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any


class Refused(Exception):
    """A refusal of the server, with its HTTP status; 503: the server is busy, try again later."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


def predict(
    server: str, model: str, image: bytes, token: str | None = None, seconds: float = 30.0, **query: object
) -> Any:
    """Send one image, and return the answer.

    Args:
        server: "http://127.0.0.1:8000".
        image: the content of a PNG, JPEG, WebP or BMP file.
        token: the server's bearer token, where it requires one.
        seconds: how long to wait for the answer.
        query: top=3, map="true", route="true", and at most one budget: gate_threshold, gflops or milliseconds.

    Returns:
        a dictionary: `predictions` (label and probability, best first), or of a segmentation `shares` of the pixels
        and, with map, `map`: the class of every pixel as a PNG in base64. `parameters` say what a route cost.

    Raises:
        Refused: the server refused, for the reason in the text.
        OSError: there is no server, or no answer came in time.
    """
    address = f"{server}/v2/models/{urllib.parse.quote(model)}/predict?{urllib.parse.urlencode(query)}"
    headers = {"Content-Type": "application/octet-stream"} | ({"Authorization": f"Bearer {token}"} if token else {})
    request = urllib.request.Request(address, image, headers, method="POST")
    try:
        with urllib.request.urlopen(request, timeout=seconds) as response:
            return json.load(response)
    except urllib.error.HTTPError as error:
        raise Refused(error.code, f"{error.code} {error.read().decode(errors='replace')}") from None


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("image", type=Path)
    parser.add_argument("--server", default="http://127.0.0.1:8000")
    parser.add_argument("--token-file", type=Path)
    parser.add_argument("--gflops", type=float, help="budget of a routed network, operations / 1e9")
    parser.add_argument("--map", type=Path, help="write the class of every pixel to this PNG file")
    chosen = parser.parse_args()
    token = chosen.token_file.read_text().strip() if chosen.token_file else None
    query = ({"gflops": chosen.gflops} if chosen.gflops else {}) | ({"map": "true"} if chosen.map else {})
    try:
        answer = predict(chosen.server, chosen.model, chosen.image.read_bytes(), token, **query)
    except (Refused, OSError) as error:
        sys.exit(f"error: {error}")
    for each in answer["predictions"] or answer["shares"]:
        print(f"{each.get('probability', each.get('share')):7.2%}  {each['label']}")
    for name, value in answer["parameters"].items():
        print(f"{name}: {value:.4g}")
    if chosen.map:
        chosen.map.write_bytes(base64.b64decode(answer["map"]))


if __name__ == "__main__":
    main()
