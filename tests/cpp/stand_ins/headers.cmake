# Headers like those of TensorRT for RTX, for tests where its SDK is not installed.
if(TENSORRT_INCLUDE_DIR AND NOT TENSORRT_RTX_INCLUDE_DIR)
  find_package(Python3 REQUIRED COMPONENTS Interpreter)
  set(TENSORRT_RTX_INCLUDE_DIR ${PROJECT_BINARY_DIR}/stand_ins/rtx_headers)
  execute_process(COMMAND ${Python3_EXECUTABLE} ${CMAKE_CURRENT_LIST_DIR}/headers.py
    rtx ${TENSORRT_INCLUDE_DIR} ${TENSORRT_RTX_INCLUDE_DIR} COMMAND_ERROR_IS_FATAL ANY)
endif()
