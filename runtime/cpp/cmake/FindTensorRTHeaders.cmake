# The C++ headers of TensorRT, of TensorRT for RTX, or of both; their libraries are loaded at run time.
#
# Looks in TENSORRT_INCLUDE_DIR and TENSORRT_RTX_INCLUDE_DIR, then for the first where distributions install
# it, and for CUDA's headers in CUDA_INCLUDE_DIR or beside nvcc.  Defines the targets TensorRT::headers and
# TensorRT::rtx_headers, and TensorRTHeaders_VERSION and TensorRTHeaders_RTX_VERSION; CUDA::headers of them
# all; and CUDA_NVCC, the compiler, if there is one.
find_program(CUDA_NVCC nvcc PATHS /usr/local/cuda/bin DOC "CUDA's compiler, for kernels")
find_path(TENSORRT_INCLUDE_DIR NvInferRuntime.h DOC "Folder of TensorRT's NvInferRuntime.h")
set(TENSORRT_RTX_INCLUDE_DIR "" CACHE PATH "Folder of TensorRT for RTX's NvInferRuntime.h")
get_filename_component(cuda_folder "${CUDA_NVCC}" DIRECTORY)
find_path(CUDA_INCLUDE_DIR cuda.h
  HINTS ${cuda_folder}/../include PATHS /usr/local/cuda/include
  DOC "Folder of CUDA's cuda.h and cuda_runtime_api.h")

# The version in a folder of headers, if it is of the flavor: ENTERPRISE or RTX.
function(tensorrt_version folder flavor result)
  set(${result} "" PARENT_SCOPE)
  if(folder AND EXISTS "${folder}/NvInferVersion.h")
    set(version "")
    foreach(part MAJOR MINOR)
      file(STRINGS "${folder}/NvInferVersion.h" line REGEX "define TRT_${part}_${flavor} ")
      if(NOT line AND flavor STREQUAL "ENTERPRISE")  # before TensorRT 10.13
        file(STRINGS "${folder}/NvInferVersion.h" line REGEX "define NV_TENSORRT_${part} +[0-9]")
      endif()
      string(REGEX MATCH " ([0-9]+)" number "${line}")
      list(APPEND version "${CMAKE_MATCH_1}")
    endforeach()
    list(JOIN version "." version)
    if(version MATCHES "^[0-9]+\\.[0-9]+$")
      set(${result} "${version}" PARENT_SCOPE)
    endif()
  endif()
endfunction()
tensorrt_version("${TENSORRT_INCLUDE_DIR}" ENTERPRISE TensorRTHeaders_VERSION)
tensorrt_version("${TENSORRT_RTX_INCLUDE_DIR}" RTX TensorRTHeaders_RTX_VERSION)

set(TensorRTHeaders_VERSIONS "")
if(TensorRTHeaders_VERSION)
  list(APPEND TensorRTHeaders_VERSIONS "TensorRT ${TensorRTHeaders_VERSION}")
endif()
if(TensorRTHeaders_RTX_VERSION)
  list(APPEND TensorRTHeaders_VERSIONS "TensorRT for RTX ${TensorRTHeaders_RTX_VERSION}")
endif()
include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(TensorRTHeaders
  REQUIRED_VARS TensorRTHeaders_VERSIONS CUDA_INCLUDE_DIR)
if(TensorRTHeaders_FOUND AND NOT TARGET CUDA::headers)
  add_library(CUDA::headers INTERFACE IMPORTED)
  target_include_directories(CUDA::headers SYSTEM INTERFACE ${CUDA_INCLUDE_DIR})
  add_library(TensorRT::headers INTERFACE IMPORTED)
  target_include_directories(TensorRT::headers SYSTEM INTERFACE ${TENSORRT_INCLUDE_DIR})
  target_link_libraries(TensorRT::headers INTERFACE CUDA::headers)
  add_library(TensorRT::rtx_headers INTERFACE IMPORTED)
  target_include_directories(TensorRT::rtx_headers SYSTEM INTERFACE ${TENSORRT_RTX_INCLUDE_DIR})
  target_link_libraries(TensorRT::rtx_headers INTERFACE CUDA::headers)
endif()
