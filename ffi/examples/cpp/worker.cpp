// A worker program of one's own, with the functions of library.cpp:
//
//     c++ -std=c++11 -I PREFIX/include -o worker worker.cpp library.cpp -L PREFIX/lib -ltransom
//
// A pool starts it where `Options::native_worker`, or the environment variable TRANSOM_NATIVE_WORKER, names it.
#include <cstdlib>
#include <iostream>

#include "transom.hpp"

int main(int count, char **arguments) {
    try {
        transom::init();
        transom::serve(std::atoi(arguments[count - 1]), transom_library(TRANSOM_ABI_VERSION));
    } catch (const std::exception &exception) {
        std::cerr << exception.what() << "\n";
        return EXIT_FAILURE;
    }
    return EXIT_SUCCESS;
}
