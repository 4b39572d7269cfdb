//! Fourier transforms.

mod build;
mod grad;
mod kernels;

use crate::error::{Result, bail};
use crate::graph::op::{Grad, InferCtx, Kernel, KernelFn, Op};

const fn complex(
    name: &'static str,
    shape: fn(&mut InferCtx) -> Result<()>,
    kernel: KernelFn,
    grad: Grad,
    rows: &'static [&'static str],
) -> Op {
    Op {
        name,
        ins: &["input: Tcomplex"],
        outs: &["output: Tcomplex"],
        attrs: &["Tcomplex: {complex64, complex128} = DT_COMPLEX64"],
        shape,
        kernel: Kernel::Pure(kernel),
        grad,
        rows,
    }
}

/// The old spelling of a transform.
const fn batch(name: &'static str, kernel: KernelFn, rows: &'static [&'static str]) -> Op {
    Op {
        name,
        ins: &["input: complex64"],
        outs: &["output: complex64"],
        attrs: &[],
        shape: crate::ops::shape::unknown,
        kernel: Kernel::Pure(kernel),
        grad: Grad::Missing,
        rows,
    }
}

const fn real(
    name: &'static str,
    shape: fn(&mut InferCtx) -> Result<()>,
    kernel: KernelFn,
    grad: Grad,
    rows: &'static [&'static str],
) -> Op {
    Op {
        name,
        ins: &["input: Treal", "fft_length: int32"],
        outs: &["output: Tcomplex"],
        attrs: &["Treal: {float, double} = DT_FLOAT", "Tcomplex: {complex64, complex128} = DT_COMPLEX64"],
        shape,
        kernel: Kernel::Pure(kernel),
        grad,
        rows,
    }
}

const fn inverse(
    name: &'static str,
    shape: fn(&mut InferCtx) -> Result<()>,
    kernel: KernelFn,
    grad: Grad,
    rows: &'static [&'static str],
) -> Op {
    Op {
        name,
        ins: &["input: Tcomplex", "fft_length: int32"],
        outs: &["output: Treal"],
        attrs: &["Treal: {float, double} = DT_FLOAT", "Tcomplex: {complex64, complex128} = DT_COMPLEX64"],
        shape,
        kernel: Kernel::Pure(kernel),
        grad,
        rows,
    }
}

const LINE: &[&str] = &["c64[1:0 2:0 3:0 4:0] => c64[10:0 -2:2 -2:0 -2:-2]", "c64{2,0}[] => c64{2,0}[]"];
const LINE_BACK: &[&str] = &["c64[10:0 -2:2 -2:0 -2:-2] => c64[1:0 2:0 3:0 4:0]"];
const PLANE: &[&str] = &["c64[[1:0 2:0] [3:0 4:0]] => c64[[10:0 -2:0] [-4:0 0:0]]"];
const PLANE_BACK: &[&str] = &["c64[[10:0 -2:0] [-4:0 0:0]] => c64[[1:0 2:0] [3:0 4:0]]"];
const CUBE: &[&str] = &["c64[[[1:0 2:0] [3:0 4:0]]] => c64[[[10:0 -2:0] [-4:0 0:0]]]"];
const CUBE_BACK: &[&str] = &["c64[[[10:0 -2:0] [-4:0 0:0]]] => c64[[[1:0 2:0] [3:0 4:0]]]"];

pub(super) static FAMILIES: &[&[Op]] = &[&[
    complex("FFT", unchanged::<1>, kernels::forward::<1>, Grad::Fn(grad::forward::<1>), LINE),
    complex("IFFT", unchanged::<1>, kernels::backward::<1>, Grad::Fn(grad::backward::<1>), LINE_BACK),
    complex("FFT2D", unchanged::<2>, kernels::forward::<2>, Grad::Fn(grad::forward::<2>), PLANE),
    complex("IFFT2D", unchanged::<2>, kernels::backward::<2>, Grad::Fn(grad::backward::<2>), PLANE_BACK),
    complex("FFT3D", unchanged::<3>, kernels::forward::<3>, Grad::Fn(grad::forward::<3>), CUBE),
    complex("IFFT3D", unchanged::<3>, kernels::backward::<3>, Grad::Fn(grad::backward::<3>), CUBE_BACK),
    batch("BatchFFT", kernels::forward::<1>, LINE),
    batch("BatchIFFT", kernels::backward::<1>, LINE_BACK),
    batch("BatchFFT2D", kernels::forward::<2>, PLANE),
    batch("BatchIFFT2D", kernels::backward::<2>, PLANE_BACK),
    batch("BatchFFT3D", kernels::forward::<3>, CUBE),
    batch("BatchIFFT3D", kernels::backward::<3>, CUBE_BACK),
    real(
        "RFFT",
        |ctx| resized::<1>(ctx, true),
        kernels::real_forward::<1>,
        Grad::Fn(grad::real_forward::<1>),
        &[
            "f32[1 2 3 4], i32[4] => c64[10:0 -2:2 -2:0]",
            "f32[1 2 3 4], i32[2] => c64[3:0 -1:0]",
            "f32[1 2 3], i32[3] => c64[6:0 -1.5:0.8660254]",
        ],
    ),
    real(
        "RFFT2D",
        |ctx| resized::<2>(ctx, true),
        kernels::real_forward::<2>,
        Grad::Fn(grad::real_forward::<2>),
        &["f32[[1 2] [3 4]], i32[2 2] => c64[[10:0 -2:0] [-4:0 0:0]]"],
    ),
    real(
        "RFFT3D",
        |ctx| resized::<3>(ctx, true),
        kernels::real_forward::<3>,
        Grad::Missing,
        &["f32[[[1 2] [3 4]]], i32[1 2 2] => c64[[[10:0 -2:0] [-4:0 0:0]]]"],
    ),
    inverse(
        "IRFFT",
        |ctx| resized::<1>(ctx, false),
        kernels::real_backward::<1>,
        Grad::Fn(grad::real_backward::<1>),
        &["c64[10:0 -2:2 -2:0], i32[4] => f32[1 2 3 4]", "c64[6:0 -1.5:0.8660254], i32[3] => f32[1 2 3]"],
    ),
    inverse(
        "IRFFT2D",
        |ctx| resized::<2>(ctx, false),
        kernels::real_backward::<2>,
        Grad::Fn(grad::real_backward::<2>),
        &["c64[[10:0 -2:0] [-4:0 0:0]], i32[2 2] => f32[[1 2] [3 4]]"],
    ),
    inverse(
        "IRFFT3D",
        |ctx| resized::<3>(ctx, false),
        kernels::real_backward::<3>,
        Grad::Missing,
        &["c64[[[10:0 -2:0] [-4:0 0:0]]], i32[1 2 2] => f32[[[1 2] [3 4]]]"],
    ),
]];

fn unchanged<const N: usize>(ctx: &mut InferCtx) -> Result<()> {
    let shape = ctx.input(0).with_rank_at_least(N)?;
    ctx.set(0, shape)
}

/// The last dimensions have the lengths of the transform; of the last one about half where the output is complex.
fn resized<const N: usize>(ctx: &mut InferCtx, forward: bool) -> Result<()> {
    let mut shape = ctx.input(0).with_rank_at_least(N)?;
    let lengths = ctx.input(1).with_rank(1)?;
    if lengths.dim(0).is_some_and(|n| n != N) {
        bail!(InvalidArgument, "fft_length must have shape [{N}], got {lengths}");
    }
    let known = ctx.constant(1).map(|t| t.to_i64s()).transpose()?;
    for i in 0..N {
        let length = known.as_ref().and_then(|k| k.get(i)).map(|&length| {
            let half = forward && i + 1 == N && length != 0;
            usize::try_from(if half { length / 2 + 1 } else { length })
        });
        let Some(length) = length.transpose().ok() else {
            bail!(InvalidArgument, "fft_length must not be negative, got {known:?}");
        };
        shape = shape.with_dim(i as isize - N as isize, length);
    }
    ctx.set(0, shape)
}
