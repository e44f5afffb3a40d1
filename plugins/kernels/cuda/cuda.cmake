# The CUDA kernels, as the static library adroit_kernels_cuda, where they are wanted and can be built.
#
#   ADROIT_CUDA=AUTO (default)  built where nvcc and an NVIDIA driver are: compiling takes a minute or more,
#                               which an install on a machine without a GPU should not spend
#   ADROIT_CUDA=ON              built, on any machine with nvcc; without it, an error
#   ADROIT_CUDA=OFF             not built
#   ADROIT_CUDA_ARCHITECTURES   of which GPUs, as CMAKE_CUDA_ARCHITECTURES ("90", "native", ...). By default
#                               AUTO takes the GPUs of this machine, and ON all that the toolkit and we know
#
# With pip: pip install . -C cmake.define.ADROIT_CUDA=ON
set(ADROIT_CUDA AUTO CACHE STRING "Build the CUDA kernels: AUTO, ON or OFF")
set_property(CACHE ADROIT_CUDA PROPERTY STRINGS AUTO ON OFF)
set(ADROIT_CUDA_ARCHITECTURES "" CACHE STRING "GPUs to build the CUDA kernels for; empty for the default")
if(NOT ADROIT_CUDA MATCHES "^(AUTO|ON|OFF)$")
  message(FATAL_ERROR "ADROIT_CUDA is ${ADROIT_CUDA}, expected AUTO, ON or OFF")
endif()

set(adroit_cuda_architectures 75 80 86 87 89 90 100 120)

# Those of our architectures that nvcc knows; the last also as PTX, for GPUs that come after it.
function(adroit_known_architectures result)
  execute_process(COMMAND ${CMAKE_CUDA_COMPILER} --list-gpu-arch OUTPUT_VARIABLE listed COMMAND_ERROR_IS_FATAL ANY)
  set(known "")
  foreach(architecture IN LISTS adroit_cuda_architectures)
    if(listed MATCHES "compute_${architecture}\n")
      list(APPEND known ${architecture}-real)
    endif()
  endforeach()
  if(NOT known)
    message(FATAL_ERROR "${CMAKE_CUDA_COMPILER} knows none of the architectures ${adroit_cuda_architectures}")
  endif()
  list(POP_BACK known last)
  string(REPLACE "-real" "" last ${last})
  set(${result} ${known} ${last} PARENT_SCOPE)
endfunction()

set(build_cuda OFF)
if(NOT ADROIT_CUDA STREQUAL OFF)
  include(CheckLanguage)
  check_language(CUDA)
  if(NOT CMAKE_CUDA_COMPILER)
    if(ADROIT_CUDA STREQUAL ON)
      message(FATAL_ERROR "ADROIT_CUDA is ON, but nvcc was not found: put it on the PATH, or set CUDACXX to it")
    endif()
    message(STATUS "CUDA kernels: not built, there is no nvcc")
  elseif(ADROIT_CUDA STREQUAL AUTO AND NOT EXISTS /proc/driver/nvidia AND NOT EXISTS /dev/nvidiactl
         AND NOT EXISTS /dev/nvhost-gpu)
    message(STATUS "CUDA kernels: not built, this machine has no NVIDIA driver (ADROIT_CUDA=ON builds them)")
  else()
    set(build_cuda ON)
  endif()
endif()

if(build_cuda)
  set(CMAKE_CUDA_STANDARD 17)
  set(CMAKE_CUDA_STANDARD_REQUIRED ON)
  set(CMAKE_CUDA_EXTENSIONS OFF)
  set(CMAKE_CUDA_VISIBILITY_PRESET hidden)
  set(CMAKE_CUDA_RUNTIME_LIBRARY Static)
  if(ADROIT_CUDA_ARCHITECTURES)
    set(CMAKE_CUDA_ARCHITECTURES ${ADROIT_CUDA_ARCHITECTURES})
  elseif(ADROIT_CUDA STREQUAL AUTO)
    set(CMAKE_CUDA_ARCHITECTURES native)
  else()
    adroit_known_architectures(CMAKE_CUDA_ARCHITECTURES)
  endif()
  enable_language(CUDA)
  find_package(CUDAToolkit REQUIRED)
  message(STATUS "CUDA kernels: ${CMAKE_CUDA_COMPILER} ${CMAKE_CUDA_COMPILER_VERSION}, "
    "architectures ${CMAKE_CUDA_ARCHITECTURES}")
  file(GLOB cuda_sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_LIST_DIR}/*.cu)
  add_library(adroit_kernels_cuda STATIC ${cuda_sources})
  target_include_directories(adroit_kernels_cuda PUBLIC plugins)
  target_compile_options(adroit_kernels_cuda PRIVATE --Werror=all-warnings --threads=2)
  target_link_libraries(adroit_kernels_cuda PUBLIC CUDA::cudart_static)
endif()
