/// @file
/// rondo: linear-recurrence sequence operators. This header is all that needs only a C++20
/// compiler.
#pragma once

#include <rondo/attention.hpp>
#include <rondo/make_view.hpp>
#include <rondo/models.hpp>
#include <rondo/multiscan.hpp>
#include <rondo/position.hpp>
#include <rondo/scan.hpp>
