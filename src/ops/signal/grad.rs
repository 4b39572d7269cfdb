//! The gradients of transforms: the nodes that TensorFlow's `fft_ops.py` makes, in its order.

use crate::error::Result;
use crate::graph::{Gradient, Grads, Graph, Operation, Output};
use crate::ops::Idx;
use crate::ops::convert::Arg;
use crate::ops::math::functions::{Axes, MatMulOptions};
use crate::tensor::DType;
use num_complex::Complex;

type Gradients = Result<Vec<Option<Gradient>>>;

/// The number of elements of the last dimensions.
fn size(g: &Graph, x: Output, rank: usize) -> Result<Output> {
    let shape = g.shape_tensor(x)?;
    let inner = g.index(shape, &[(Arg::from(-(rank as i32))..).into()])?;
    g.reduce_prod(inner, Axes::All, false)
}

fn transform(g: &Graph, name: &str, rank: usize, x: Output) -> Result<Output> {
    let suffix = ["", "2D", "3D"][rank - 1];
    g.op(&format!("{name}{suffix}")).input(x).output()
}

pub fn forward<const N: usize>(g: &Graph, _: Operation, grads: &Grads) -> Gradients {
    let grad = grads.dense(g, 0)?;
    let size = g.cast(size(g, grad, N)?, g.dtype(grad)?)?;
    Ok(vec![Some(g.mul(transform(g, "IFFT", N, grad)?, size)?.into())])
}

pub fn backward<const N: usize>(g: &Graph, _: Operation, grads: &Grads) -> Gradients {
    let grad = grads.dense(g, 0)?;
    let dtype = g.dtype(grad)?;
    let count = g.cast(size(g, grad, N)?, dtype.real())?;
    let factor = g.cast(g.truediv(1.0, count)?, dtype)?;
    Ok(vec![Some(g.mul(transform(g, "FFT", N, grad)?, factor)?.into())])
}

/// `x[..., from:to]` of the last dimension.
fn last(g: &Graph, x: Output, from: i32, to: Option<i32>) -> Result<Output> {
    g.index(x, &[Idx::Ellipsis, Idx::Range { start: Some(from.into()), stop: to.map(Arg::from), step: None }])
}

/// 1, -1, 1, -1, ... of this length.
fn alternating(g: &Graph, length: Output, dtype: DType) -> Result<Output> {
    let range = g.range(0i32, length, 1i32)?;
    let odd = g.mod_(range, 2i32)?;
    g.cast(g.sub(1i32, g.mul(2i32, odd)?)?, dtype)
}

/// `exp(-2 pi i a b / length)` for row a and column b.
fn mask(g: &Graph, length: Output, dtype: DType) -> Result<Output> {
    let range = g.range(0i32, length, 1i32)?;
    let row = g.expand_dims(range, 0i32)?;
    let a = g.tile(row, Arg::from(vec![Arg::from(length), Arg::from(1i32)]))?;
    let b = g.transpose(a, Some(Arg::from([1i32, 0])))?;
    let products = g.cast(g.mul(a, b)?, dtype)?;
    let turn = -2.0 * std::f64::consts::PI;
    let scaled = if dtype == DType::Complex64 {
        g.mul(Complex::<f32> { re: 0.0, im: turn as f32 }, products)?
    } else {
        g.mul(Complex::<f64> { re: 0.0, im: turn }, products)?
    };
    g.exp(g.truediv(scaled, g.cast(length, dtype)?)?)
}

fn tiled(g: &Graph, matrix: Output, t: Output) -> Result<Output> {
    let rank = g.sub(g.rank(t)?, 2i32)?;
    let ones = g.ones(Arg::from([rank]), DType::Int32)?;
    let shape = g.concat(&[ones.into(), g.shape_tensor(matrix)?.into()], 0i32)?;
    let expanded = g.reshape(matrix, shape)?;
    let outer = g.index(g.shape_tensor(t)?, &[(..Arg::from(-2i32)).into()])?;
    let multiples = g.concat(&[outer.into(), Arg::from([1i32, 1])], 0i32)?;
    g.tile(expanded, multiples)
}

pub fn real_forward<const N: usize>(g: &Graph, op: Operation, grads: &Grads) -> Gradients {
    let grad = grads.dense(g, 0)?;
    let (input, length) = (g.input(op, 0)?, g.input(op, 1)?);
    let dtype = g.dtype(grad)?;
    let shape = g.shape_tensor(input)?;
    let odd = g.mod_(g.index(length, &[(-1).into()])?, 2i32)?;
    let even = g.cast(g.sub(1i32, odd)?, dtype)?;
    let extra = if N == 1 {
        let y0 = last(g, grad, 0, Some(1))?;
        let ym = last(g, grad, -1, None)?;
        let product = g.mul(even, ym)?;
        let signs = alternating(g, g.index(shape, &[(-1).into()])?, dtype)?;
        g.add(y0, g.mul(product, signs)?)?
    } else {
        let product = |a: Output, b: Output| g.matmul_with(a, b, MatMulOptions::default());
        let y0 = last(g, grad, 0, Some(1))?;
        let base = mask(g, g.index(shape, &[(-2).into()])?, dtype)?;
        let base = tiled(g, base, y0)?;
        let y0_term = product(base, g.conj(y0)?)?;
        let ym = last(g, grad, -1, None)?;
        let ym_term = product(base, g.conj(ym)?)?;
        let inner = g.index(shape, &[(-1).into()])?;
        let rank = g.sub(g.rank(grad)?, 1i32)?;
        let ones = g.ones(Arg::from([rank]), DType::Int32)?;
        let multiples = g.concat(&[ones.into(), Arg::from([inner])], 0i32)?;
        let spread = g.tile(ym_term, multiples)?;
        let ym_term = g.mul(spread, alternating(g, inner, dtype)?)?;
        g.add(y0_term, g.mul(even, ym_term)?)?
    };
    let size = g.cast(size(g, input, N)?, dtype.real())?;
    let length = Some(Arg::from(length));
    let inverse = if N == 1 { g.irfft(grad, length)? } else { g.irfft2d(grad, length)? };
    let scaled = g.mul(inverse, size)?;
    let sum = g.add(scaled, g.real(extra)?)?;
    Ok(vec![Some(g.mul(0.5, sum)?.into()), None])
}

pub fn real_backward<const N: usize>(g: &Graph, op: Operation, grads: &Grads) -> Gradients {
    let grad = grads.dense(g, 0)?;
    let (input, length) = (g.input(op, 0)?, g.input(op, 1)?);
    let real = g.dtype(grad)?;
    let complex = g.dtype(input)?;
    let shape = g.shape_tensor(input)?;
    let odd = g.mod_(g.index(length, &[(-1).into()])?, 2i32)?;
    let last = g.index(shape, &[(-1).into()])?;
    let twice = g.add(g.sub(last, 2i32)?, odd)?;
    let twice = g.mul(2.0, g.ones(Arg::from([twice]), real)?)?;
    let once = g.ones(Arg::from([g.sub(1i32, odd)?]), real)?;
    let first = g.ones([1i32], real)?;
    let mask = g.concat(&[first.into(), twice.into(), once.into()], 0i32)?;
    let factor = g.reciprocal(g.cast(size(g, grad, N)?, real)?)?;
    let length = Some(Arg::from(length));
    let forward = if N == 1 { g.rfft(grad, length)? } else { g.rfft2d(grad, length)? };
    let factors = g.cast(g.mul(factor, mask)?, complex)?;
    Ok(vec![Some(g.mul(forward, factors)?.into()), None])
}
