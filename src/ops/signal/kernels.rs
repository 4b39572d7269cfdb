//! The transforms over the last dimensions.

use crate::compute::pool;
use crate::error::{Error, Result, bail};
use crate::graph::op::KernelCtx;
use crate::ops::array::{View, read_view, row_major};
use crate::tensor::{DType, Element, Tensor, dispatch};
use num_complex::Complex;
use rustfft::{FftDirection, FftNum, FftPlanner};

/// A real number of which transforms are made.
pub trait Sample: FftNum + Element {
    /// The reciprocal of a count.
    fn over(count: usize) -> Self;
}

impl Sample for f32 {
    fn over(count: usize) -> f32 {
        (1.0 / count as f64) as f32
    }
}

impl Sample for f64 {
    fn over(count: usize) -> f64 {
        1.0 / count as f64
    }
}

/// Transforms along one dimension, in place, without a factor.
fn transform<T: Sample>(data: &mut [Complex<T>], dims: &[usize], axis: usize, direction: FftDirection) -> Result<()> {
    let length = dims[axis];
    if data.is_empty() || length < 2 {
        return Ok(());
    }
    let fft = FftPlanner::<T>::new().plan_fft(length, direction);
    let inner: usize = dims[axis + 1..].iter().product();
    let zero = Complex { re: T::zero(), im: T::zero() };
    let grain = (1usize << 14).div_ceil(length);
    if inner == 1 {
        pool::parallel_pieces(data, length, grain, |_, lines| {
            let mut scratch = vec![zero; fft.get_inplace_scratch_len()];
            fft.process_with_scratch(lines, &mut scratch);
        });
        return Ok(());
    }
    pool::parallel_pieces(data, length * inner, grain.div_ceil(inner), |_, blocks| {
        let mut scratch = vec![zero; fft.get_inplace_scratch_len()];
        let mut line = vec![zero; length];
        for block in blocks.chunks_exact_mut(length * inner) {
            for column in 0..inner {
                for (i, value) in line.iter_mut().enumerate() {
                    *value = block[i * inner + column];
                }
                fft.process_with_scratch(&mut line, &mut scratch);
                for (i, value) in line.iter().enumerate() {
                    block[i * inner + column] = *value;
                }
            }
        }
    });
    Ok(())
}

fn check_rank(input: &Tensor, rank: usize) -> Result<()> {
    if input.rank() < rank {
        bail!(InvalidArgument, "Input must have rank of at least {rank} but got: {:?}", input.dims());
    }
    Ok(())
}

fn complex<const N: usize>(ctx: &mut KernelCtx, direction: FftDirection) -> Result<()> {
    let mut input = ctx.take(0)?;
    check_rank(&input, N)?;
    let dims = input.dims().to_vec();
    let inner = &dims[dims.len() - N..];
    let count: usize = inner.iter().product();
    dispatch!(input.dtype(), complex, T => {
        let data = input.as_mut_slice::<Complex<T>>()?;
        for axis in dims.len() - N..dims.len() {
            transform::<T>(data, &dims, axis, direction)?;
        }
        if direction == FftDirection::Inverse && count > 0 {
            let factor = T::over(count);
            data.iter_mut().for_each(|v| *v = *v * factor);
        }
    });
    ctx.set(0, input)
}

/// The transform over the last N dimensions.
pub fn forward<const N: usize>(ctx: &mut KernelCtx) -> Result<()> {
    complex::<N>(ctx, FftDirection::Forward)
}

/// The inverse transform over the last N dimensions.
pub fn backward<const N: usize>(ctx: &mut KernelCtx) -> Result<()> {
    complex::<N>(ctx, FftDirection::Inverse)
}

/// The lengths of the transform, checked against the input.
fn lengths<const N: usize>(ctx: &KernelCtx, forward: bool) -> Result<Vec<usize>> {
    let (input, given) = (ctx.input(0)?, ctx.input(1)?);
    check_rank(input, N)?;
    if given.dims() != [N] {
        bail!(InvalidArgument, "fft_length must have shape [{N}], got {:?}", given.dims());
    }
    let mut lengths = Vec::with_capacity(N);
    for (i, &length) in given.to_i64s()?.iter().enumerate() {
        let Ok(length) = usize::try_from(length) else {
            bail!(InvalidArgument, "fft_length[{i}] must >= 0, but got: {length}");
        };
        let least = if !forward && i + 1 == N { length / 2 + 1 } else { length };
        let size = input.dims()[input.rank() - N + i];
        if size != 0 && size < least {
            bail!(InvalidArgument, "Input dimension {i} must have length of at least {least} but got: {size}");
        }
        lengths.push(length);
    }
    Ok(lengths)
}

/// The first elements along the last dimensions.
fn cropped(input: &Tensor, inner: &[usize]) -> Result<Tensor> {
    let lead = input.rank() - inner.len();
    let dims: Vec<usize> = input.dims()[..lead].iter().chain(inner).copied().collect();
    if dims == input.dims() {
        return Ok(input.clone());
    }
    read_view(input, &View { dims: dims.as_slice().into(), strides: row_major(input.dims()), offset: 0 })
}

/// The transform of real numbers: of the last dimension only the half that says all.
pub fn real_forward<const N: usize>(ctx: &mut KernelCtx) -> Result<()> {
    let lengths = lengths::<N>(ctx, true)?;
    let input = ctx.input(0)?;
    let out_dtype = ctx.node().output_types[0];
    let lead = input.rank() - N;
    let mut dims = input.dims().to_vec();
    dims[lead..].copy_from_slice(&lengths);
    let last = lengths[N - 1];
    let half = if last == 0 { 0 } else { last / 2 + 1 };
    let mut out_dims = dims.clone();
    out_dims[lead + N - 1] = half;
    check_types(input.dtype(), out_dtype)?;
    if input.is_empty() || last == 0 {
        let zeros = Tensor::zeros(out_dtype, &out_dims)?;
        return ctx.set(0, zeros);
    }
    let real = cropped(input, &lengths)?;
    let out = dispatch!(out_dtype, complex, T => {
        let mut full = Tensor::zeros(out_dtype, &dims)?;
        let data = full.as_mut_slice::<Complex<T>>()?;
        for (to, &re) in data.iter_mut().zip(real.as_slice::<T>()?) {
            *to = Complex { re, im: 0.0 };
        }
        transform::<T>(data, &dims, lead + N - 1, FftDirection::Forward)?;
        let mut half = cropped(&full, &out_dims[lead..])?;
        let data = half.as_mut_slice::<Complex<T>>()?;
        for axis in lead..lead + N - 1 {
            transform::<T>(data, &out_dims, axis, FftDirection::Forward)?;
        }
        half
    });
    ctx.set(0, out)
}

/// The inverse transform to real numbers.
pub fn real_backward<const N: usize>(ctx: &mut KernelCtx) -> Result<()> {
    let lengths = lengths::<N>(ctx, false)?;
    let input = ctx.input(0)?;
    let out_dtype = ctx.node().output_types[0];
    let lead = input.rank() - N;
    let mut dims = input.dims().to_vec();
    dims[lead..].copy_from_slice(&lengths);
    check_types(out_dtype, input.dtype())?;
    if input.is_empty() || lengths.contains(&0) {
        let zeros = Tensor::zeros(out_dtype, &dims)?;
        return ctx.set(0, zeros);
    }
    let last = lengths[N - 1];
    let half = last / 2 + 1;
    let mut half_dims = lengths.clone();
    half_dims[N - 1] = half;
    let mut spectrum = cropped(input, &half_dims)?;
    let spectrum_dims = spectrum.dims().to_vec();
    let out = dispatch!(input.dtype(), complex, T => {
        let data = spectrum.as_mut_slice::<Complex<T>>()?;
        for axis in lead..lead + N - 1 {
            transform::<T>(data, &spectrum_dims, axis, FftDirection::Inverse)?;
        }
        let factor = T::over(lengths.iter().product());
        let mut out = Tensor::uninit(out_dtype, &dims)?;
        let fft = FftPlanner::<T>::new().plan_fft(last, FftDirection::Inverse);
        let data: &[Complex<T>] = data;
        pool::parallel_pieces(out.as_mut_slice::<T>()?, last, (1usize << 14).div_ceil(last), |first, lines| {
            let zero = Complex { re: 0.0, im: 0.0 };
            let mut scratch = vec![zero; fft.get_inplace_scratch_len()];
            let mut line = vec![zero; last];
            for (i, to) in lines.chunks_exact_mut(last).enumerate() {
                let from = &data[(first + i) * half..][..half];
                line[..half].copy_from_slice(from);
                for k in half..last {
                    line[k] = from[last - k].conj();
                }
                line[0].im = 0.0;
                fft.process_with_scratch(&mut line, &mut scratch);
                for (t, v) in to.iter_mut().zip(&line) {
                    *t = v.re * factor;
                }
            }
        });
        out
    });
    ctx.set(0, out)
}

fn check_types(real: DType, complex: DType) -> Result<()> {
    if complex.real() == real {
        return Ok(());
    }
    Err(Error::invalid_argument(format!("Wrong types for a transform of real numbers: {real} and {complex}")))
}
