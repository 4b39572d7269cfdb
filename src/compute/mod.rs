//! Numeric kernels on plain slices: what a step spends its time in.
//!
//! This module knows neither tensors nor graphs. Lengths and dimensions that disagree are bugs of the caller and panic;
//! whoever calls checks shapes first and answers with an error. The instruction set (AVX-512, AVX2 with FMA, NEON or none)
//! is chosen at run time, see [`level`], and large kernels split their work over the current [`pool`].

// Loops over small arrays by index become registers, and addresses, strides and counts are many.
#![allow(clippy::needless_range_loop, clippy::too_many_arguments)]

pub mod conv;
pub mod elementwise;
pub mod gemm;
pub mod lanes;
pub mod level;
pub mod linalg;
pub mod math;
pub mod pages;
pub mod pool;
pub mod program;
pub mod reduce;
pub mod scratch;
pub mod softmax;
