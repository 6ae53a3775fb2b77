# WebAssembly by the compiler of PyPI's `ziglang`, which brings clang, a linker, a C library and libc++:
#
#   cmake -D CMAKE_TOOLCHAIN_FILE=src/pocketlm/pocket/wasm/toolchain.cmake -D POCKETLM_ZIG=…/ziglang/zig
#
# POCKETLM_WASM_RELAXED: with relaxed SIMD's dot product. POCKETLM_WASM_THREADS: memory that workers share.
set(CMAKE_SYSTEM_NAME Generic)
set(CMAKE_SYSTEM_PROCESSOR wasm32)
set(CMAKE_TRY_COMPILE_PLATFORM_VARIABLES POCKETLM_ZIG POCKETLM_WASM_RELAXED POCKETLM_WASM_THREADS)
set(CMAKE_TRY_COMPILE_TARGET_TYPE STATIC_LIBRARY)

set(features generic+simd128+bulk_memory+exception_handling+reference_types+sign_ext+nontrapping_fptoint)
if(POCKETLM_WASM_RELAXED)
  string(APPEND features +relaxed_simd)
endif()
if(POCKETLM_WASM_THREADS)
  string(APPEND features +atomics)
endif()

set(CMAKE_C_COMPILER ${POCKETLM_ZIG} cc)
set(CMAKE_CXX_COMPILER ${POCKETLM_ZIG} c++)
foreach(language C CXX)
  set(CMAKE_${language}_COMPILER_TARGET wasm32-wasi)
  set(CMAKE_${language}_FLAGS_INIT "-mcpu=${features} -fwasm-exceptions")
  set(CMAKE_${language}_ARCHIVE_CREATE "${POCKETLM_ZIG} ar qc <TARGET> <OBJECTS>")
  set(CMAKE_${language}_ARCHIVE_FINISH "${POCKETLM_ZIG} ranlib <TARGET>")
endforeach()
set(CMAKE_EXECUTABLE_SUFFIX .wasm)
