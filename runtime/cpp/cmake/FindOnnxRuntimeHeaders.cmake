# The C header of ONNX Runtime; its library is loaded at run time.
#
# Looks in ONNXRUNTIME_INCLUDE_DIR, then where distributions install it.  Defines the target
# OnnxRuntime::headers and OnnxRuntimeHeaders_API, the version of the API.
find_path(ONNXRUNTIME_INCLUDE_DIR onnxruntime_c_api.h
  PATH_SUFFIXES onnxruntime onnxruntime/core/session
  DOC "Folder of onnxruntime_c_api.h")
if(ONNXRUNTIME_INCLUDE_DIR)
  file(STRINGS ${ONNXRUNTIME_INCLUDE_DIR}/onnxruntime_c_api.h line REGEX "define ORT_API_VERSION")
  string(REGEX MATCH "[0-9]+" OnnxRuntimeHeaders_API "${line}")
endif()
include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(OnnxRuntimeHeaders
  REQUIRED_VARS ONNXRUNTIME_INCLUDE_DIR OnnxRuntimeHeaders_API)
if(OnnxRuntimeHeaders_FOUND AND NOT TARGET OnnxRuntime::headers)
  add_library(OnnxRuntime::headers INTERFACE IMPORTED)
  target_include_directories(OnnxRuntime::headers SYSTEM INTERFACE ${ONNXRUNTIME_INCLUDE_DIR})
endif()
