# WebAssembly by the compiler of PyPI's `ziglang`, which brings clang, a linker, a C library and libc++:
#
#   cmake -D CMAKE_TOOLCHAIN_FILE=src/pocketlm/pocket/wasm/toolchain.cmake -D POCKETLM_ZIG=…/ziglang/zig
set(CMAKE_SYSTEM_NAME Generic)
set(CMAKE_SYSTEM_PROCESSOR wasm32)
set(CMAKE_TRY_COMPILE_PLATFORM_VARIABLES POCKETLM_ZIG)
set(CMAKE_TRY_COMPILE_TARGET_TYPE STATIC_LIBRARY)

# What every browser has that has SIMD128. Atomics do in memory that is not shared, too.
set(POCKETLM_WASM_FEATURES
  -mcpu=generic+simd128+atomics+bulk_memory+exception_handling+reference_types+sign_ext+nontrapping_fptoint)

set(CMAKE_C_COMPILER ${POCKETLM_ZIG} cc)
set(CMAKE_CXX_COMPILER ${POCKETLM_ZIG} c++)
foreach(language C CXX)
  set(CMAKE_${language}_COMPILER_TARGET wasm32-wasi)
  set(CMAKE_${language}_FLAGS_INIT "${POCKETLM_WASM_FEATURES} -fwasm-exceptions")
  set(CMAKE_${language}_ARCHIVE_CREATE "${POCKETLM_ZIG} ar qc <TARGET> <OBJECTS>")
  set(CMAKE_${language}_ARCHIVE_FINISH "${POCKETLM_ZIG} ranlib <TARGET>")
endforeach()
