//! Drives functions of single elements over whole tensors.

use super::broadcast::{Broadcast, grain};
use crate::compute::level::vectorize;
use crate::compute::pool;
use crate::error::Result;
use crate::graph::op::KernelCtx;
use crate::tensor::{DType, Element, Tensor};

/// Elements that are computed ahead of being written over an input.
const CHUNK: usize = 128;

/// Computes elements of a unary function; both slices have one length.
pub(crate) type UnaryLoop<A, R> = fn(&[A], &mut [R]);

/// Computes elements of a binary function. An input has the length of the output, or one element that stands for all.
pub(crate) type BinaryLoop<A, R> = fn(&[A], &[A], &mut [R]);

/// Whether loops over these elements gain from wide vectors.
#[inline(always)]
pub(crate) const fn is_wide<A: Element>() -> bool {
    matches!(A::DTYPE, DType::Float | DType::Double | DType::Int32)
}

/// The body of a [`UnaryLoop`].
#[inline(always)]
pub(crate) fn each<A: Element, R: Element>(x: &[A], out: &mut [R], f: impl Fn(A) -> R) {
    for (o, &x) in out.iter_mut().zip(x) {
        *o = f(x);
    }
}

/// As [`each`], compiled for the machine's widest vectors: for functions that are a few instructions.
#[inline(always)]
pub(crate) fn each_wide<A: Element, R: Element>(x: &[A], out: &mut [R], f: impl Fn(A) -> R) {
    if const { is_wide::<A>() } {
        vectorize(
            #[inline(always)]
            || each(x, out, f),
        );
    } else {
        each(x, out, f);
    }
}

/// The body of a [`BinaryLoop`].
#[inline(always)]
pub(crate) fn pairs<A: Element, R: Element>(x: &[A], y: &[A], out: &mut [R], f: impl Fn(A, A) -> R) {
    if x.len() == y.len() {
        for ((o, &x), &y) in out.iter_mut().zip(x).zip(y) {
            *o = f(x, y);
        }
    } else if let [y] = *y {
        for (o, &x) in out.iter_mut().zip(x) {
            *o = f(x, y);
        }
    } else if let [x] = *x {
        for (o, &y) in out.iter_mut().zip(y) {
            *o = f(x, y);
        }
    }
}

/// As [`pairs`], compiled for the machine's widest vectors: for functions that are a few instructions.
#[inline(always)]
pub(crate) fn pairs_wide<A: Element, R: Element>(x: &[A], y: &[A], out: &mut [R], f: impl Fn(A, A) -> R) {
    if const { is_wide::<A>() } {
        vectorize(
            #[inline(always)]
            || pairs(x, y, out, f),
        );
    } else {
        pairs(x, y, out, f);
    }
}

/// Computes `y = f(x)` from input 0 to output 0, over the input's memory if it may.
pub(crate) fn unary<A: Element, R: Element>(ctx: &mut KernelCtx, cost: usize, body: UnaryLoop<A, R>) -> Result<()> {
    let mut x = ctx.take(0)?;
    let dtype = ctx.node().output_types[0];
    if A::DTYPE == R::DTYPE && x.is_unique() {
        pool::parallel_pieces(x.as_mut_slice::<A>()?, 1, grain(cost), |_, piece| {
            let mut chunk = [A::default(); CHUNK];
            for part in piece.chunks_mut(CHUNK) {
                let chunk = &mut chunk[..part.len()];
                body(part, same_type(chunk));
                part.copy_from_slice(chunk);
            }
        });
        return ctx.set(0, if x.dtype() == dtype { x } else { x.with_dtype(dtype) });
    }
    let mut out = Tensor::uninit(dtype, x.dims())?;
    let input = x.as_slice::<A>()?;
    pool::parallel_pieces(out.as_mut_slice::<R>()?, 1, grain(cost), |start, piece| {
        body(&input[start..start + piece.len()], piece);
    });
    ctx.set(0, out)
}

/// Computes `z = f(x, y)` with broadcasting from inputs 0 and 1 to output 0, over the memory of one of them if it may.
///
/// # Errors
/// `InvalidArgument` where the shapes don't broadcast.
pub(crate) fn binary<A: Element, R: Element>(ctx: &mut KernelCtx, cost: usize, body: BinaryLoop<A, R>) -> Result<()> {
    let (x, y) = (ctx.take(0)?, ctx.take(1)?);
    let dtype = ctx.node().output_types[0];
    let out = combine(x, y, dtype, cost, body)?;
    ctx.set(0, out)
}

/// The broadcast `f(x, y)` of two tensors.
///
/// # Errors
/// `InvalidArgument` where the shapes don't broadcast.
pub(crate) fn combine<A: Element, R: Element>(
    mut x: Tensor,
    mut y: Tensor,
    dtype: DType,
    cost: usize,
    body: BinaryLoop<A, R>,
) -> Result<Tensor> {
    if let (Ok([a]), Ok([b])) = (x.as_slice::<A>(), y.as_slice::<A>())
        && x.dims() == y.dims()
    {
        let mut out = Tensor::uninit(dtype, x.dims())?;
        body(std::slice::from_ref(a), std::slice::from_ref(b), out.as_mut_slice::<R>()?);
        return Ok(out);
    }
    let broadcast = Broadcast::new([x.dims(), y.dims()])?;
    if A::DTYPE == R::DTYPE && broadcast.dims[..] == *x.dims() && x.is_unique() {
        let y = y.as_slice::<A>()?;
        over(&broadcast, x.as_mut_slice::<A>()?, (1, y), cost, |part, y, chunk| body(part, y, same_type(chunk)));
        return Ok(if x.dtype() == dtype { x } else { x.with_dtype(dtype) });
    }
    if A::DTYPE == R::DTYPE && broadcast.dims[..] == *y.dims() && y.is_unique() {
        let x = x.as_slice::<A>()?;
        over(&broadcast, y.as_mut_slice::<A>()?, (0, x), cost, |part, x, chunk| body(x, part, same_type(chunk)));
        return Ok(if y.dtype() == dtype { y } else { y.with_dtype(dtype) });
    }
    let mut out = Tensor::uninit(dtype, &broadcast.dims)?;
    let (a, b) = (x.as_slice::<A>()?, y.as_slice::<A>()?);
    broadcast.fill(out.as_mut_slice::<R>()?, cost, |run, part| body(run.part(0, a), run.part(1, b), part));
    Ok(out)
}

/// Computes elements ahead and writes them over `data`, an operand of the result's shape; `other` is the other operand with
/// its number.
fn over<A: Element>(
    broadcast: &Broadcast<2>,
    data: &mut [A],
    other: (usize, &[A]),
    cost: usize,
    body: impl Fn(&[A], &[A], &mut [A]) + Sync,
) {
    broadcast.fill(data, cost, |run, piece| {
        let other = run.part(other.0, other.1);
        let mut chunk = [A::default(); CHUNK];
        for (number, part) in piece.chunks_mut(CHUNK).enumerate() {
            let chunk = &mut chunk[..part.len()];
            let other = if other.len() == 1 { other } else { &other[number * CHUNK..][..part.len()] };
            body(part, other, chunk);
            part.copy_from_slice(chunk);
        }
    });
}

/// The slice as one of `R`, which is the same type as `A`.
fn same_type<A: Element, R: Element>(slice: &mut [A]) -> &mut [R] {
    assert!(A::DTYPE == R::DTYPE);
    // SAFETY: a dtype belongs to one Rust type, so that A and R are the same.
    unsafe { std::slice::from_raw_parts_mut(slice.as_mut_ptr().cast(), slice.len()) }
}
