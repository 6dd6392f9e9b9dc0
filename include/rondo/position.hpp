/// @file
/// Positions: what tells an operator where its tokens stand, along time or over a grid.
#pragma once

#include <rondo/position/fused.hpp>
#include <rondo/position/lrpe.hpp>
#include <rondo/position/rope.hpp>
#include <rondo/position/tpe.hpp>
