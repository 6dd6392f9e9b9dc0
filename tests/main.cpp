// Catch2 2.13 needs its main compiled once; Catch2 3 links Catch2WithMain and this file is empty.
#if !__has_include(<catch2/catch_all.hpp>)
#define CATCH_CONFIG_MAIN
#endif
#include "support/catch.hpp"
