/* The entry point of a library of functions. It is C since cgo cannot give an exported function the header's `const`. */
#include "_cgo_export.h"

const transom_library_t *transom_library(uint32_t abi_version) {
    return abi_version == TRANSOM_ABI_VERSION ? transomGoLibrary() : NULL;
}
