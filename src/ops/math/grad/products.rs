//! Products of matrices, cross products and scans.

use super::{Gradients, first_of_two, some};
use crate::error::Result;
use crate::graph::{Grads, Graph, Operation, Output, attr};
use crate::ops::math::functions::{MatMulOptions, ScanOptions};
use crate::tensor::DType;

fn flag(g: &Graph, op: Operation, name: &str) -> Result<bool> {
    attr::boolean(&g.get_attr(op, name)?)
}

pub fn matmul(g: &Graph, op: Operation, grads: &Grads) -> Gradients {
    let grad = grads.dense(g, 0)?;
    let (transpose_a, transpose_b) = (flag(g, op, "transpose_a")?, flag(g, op, "transpose_b")?);
    let (a, b) = (g.conj(g.input(op, 0)?)?, g.conj(g.input(op, 1)?)?);
    let product = |a: Output, b: Output, transpose_a: bool, transpose_b: bool| {
        g.op("MatMul").input(a).input(b).attr("transpose_a", transpose_a).attr("transpose_b", transpose_b).output()
    };
    match (transpose_a, transpose_b) {
        (false, false) => some([product(grad, b, false, true)?, product(a, grad, true, false)?]),
        (false, true) => some([product(grad, b, false, false)?, product(grad, a, true, false)?]),
        (true, false) => some([product(b, grad, false, true)?, product(a, grad, false, false)?]),
        (true, true) => some([product(b, grad, true, true)?, product(grad, a, true, true)?]),
    }
}

pub fn sparse_matmul(g: &Graph, op: Operation, grads: &Grads) -> Gradients {
    let grad = grads.dense(g, 0)?;
    let (a, b) = (g.input(op, 0)?, g.input(op, 1)?);
    let sparse = [(a, flag(g, op, "a_is_sparse")?), (b, flag(g, op, "b_is_sparse")?), (grad, g.op_type(grad.op) == "ReluGrad")];
    // A tensor that is there twice counts as the last one of its names says.
    let is_sparse = |t: Output| sparse.iter().rev().find(|s| s.0 == t).is_some_and(|s| s.1);
    let product = |x: Output, y: Output, dtype: DType, transpose_a: bool, transpose_b: bool| -> Result<Output> {
        let options = MatMulOptions { transpose_a, a_is_sparse: is_sparse(x), b_is_sparse: is_sparse(y), ..Default::default() };
        let y = if transpose_b { g.transpose(y, None)? } else { y };
        g.cast(g.matmul_with(x, y, options)?, dtype)
    };
    let (da, db) = (g.dtype(a)?, g.dtype(b)?);
    match (flag(g, op, "transpose_a")?, flag(g, op, "transpose_b")?) {
        (false, false) => some([product(grad, b, da, false, true)?, product(a, grad, db, true, false)?]),
        (false, true) => some([product(grad, b, da, false, false)?, product(grad, a, db, true, false)?]),
        (true, false) => some([product(b, grad, da, false, true)?, product(a, grad, db, false, false)?]),
        (true, true) => some([product(b, grad, da, true, true)?, product(grad, a, db, true, true)?]),
    }
}

fn batch_products(g: &Graph, op: Operation, grad: Output) -> Result<(Output, Output)> {
    let (x, y) = (g.input(op, 0)?, g.input(op, 1)?);
    let product = |a: Output, b: Output, adjoint_a: bool, adjoint_b: bool| {
        g.matmul_with(a, b, MatMulOptions { adjoint_a, adjoint_b, ..Default::default() })
    };
    Ok(match (flag(g, op, "adj_x")?, flag(g, op, "adj_y")?) {
        (false, false) => (product(grad, y, false, true)?, product(x, grad, true, false)?),
        (false, true) => (product(grad, y, false, false)?, product(grad, x, true, false)?),
        (true, false) => (product(y, grad, false, true)?, product(x, grad, false, false)?),
        (true, true) => (product(y, grad, true, true)?, product(grad, x, true, true)?),
    })
}

pub fn batch_matmul(g: &Graph, op: Operation, grads: &Grads) -> Gradients {
    let (gx, gy) = batch_products(g, op, grads.dense(g, 0)?)?;
    some([gx, gy])
}

pub fn batch_matmul_v2(g: &Graph, op: Operation, grads: &Grads) -> Gradients {
    let (gx, gy) = batch_products(g, op, grads.dense(g, 0)?)?;
    let (x, y) = (g.input(op, 0)?, g.input(op, 1)?);
    let (shape_x, shape_y) = (g.shape(x)?, g.shape(y)?);
    let may_have_batch = shape_x.rank().is_none_or(|r| r > 2) || shape_y.rank().is_none_or(|r| r > 2);
    let (batch_x, batch_y) = (shape_x.slice(0, -2), shape_y.slice(0, -2));
    if !may_have_batch || (batch_x.is_fully_known() && batch_x == batch_y) {
        return some([gx, gy]);
    }
    let (sx, sy) = (g.shape_tensor(x)?, g.shape_tensor(y)?);
    let batch = |sizes: Output| g.index(sizes, &[(..-2i32).into()]);
    let (bx, by) = (batch(sx)?, batch(sy)?);
    let axes = g.op("BroadcastGradientArgs").input(bx).input(by).outputs()?;
    let gx = g.reshape(g.reduce_sum(gx, axes[0], false)?, sx)?;
    let gy = g.reshape(g.reduce_sum(gy, axes[1], false)?, sy)?;
    some([gx, gy])
}

pub fn cross(g: &Graph, op: Operation, grads: &Grads) -> Gradients {
    let (u, v, grad) = (g.input(op, 0)?, g.input(op, 1)?, grads.dense(g, 0)?);
    some([g.cross(v, grad)?, g.cross(grad, u)?])
}

fn scan_options(g: &Graph, op: Operation) -> Result<ScanOptions> {
    Ok(ScanOptions { exclusive: flag(g, op, "exclusive")?, reverse: flag(g, op, "reverse")? })
}

impl ScanOptions {
    fn turned(self) -> ScanOptions {
        ScanOptions { reverse: !self.reverse, ..self }
    }
}

pub fn cumsum(g: &Graph, op: Operation, grads: &Grads) -> Gradients {
    let options = scan_options(g, op)?.turned();
    first_of_two(g.cumsum(grads.dense(g, 0)?, g.input(op, 1)?, options)?)
}

pub fn cumprod(g: &Graph, op: Operation, grads: &Grads) -> Gradients {
    let (x, axis, grad) = (g.input(op, 0)?, g.input(op, 1)?, grads.dense(g, 0)?);
    let options = scan_options(g, op)?;
    let product = g.cumprod(x, axis, options)?;
    let sums = g.cumsum(g.mul(product, grad)?, axis, options.turned())?;
    first_of_two(g.div_no_nan(sums, x)?)
}

pub fn cumulative_logsumexp(g: &Graph, op: Operation, grads: &Grads) -> Gradients {
    let (x, axis, grad) = (g.input(op, 0)?, g.input(op, 1)?, grads.dense(g, 0)?);
    let options = scan_options(g, op)?.turned();
    let lowest = match g.dtype(grad)? {
        DType::Half => -65504.0,
        DType::Bfloat16 => -3.3895313892515355e38,
        DType::Double => f64::MIN,
        _ => f64::from(f32::MIN),
    };
    let is_positive = g.greater(grad, 0i32)?;
    let positive = g.where_v2(is_positive, g.log(grad)?, lowest)?;
    let is_negative = g.less(grad, 0i32)?;
    let negative = g.where_v2(is_negative, g.log(g.neg(grad)?)?, lowest)?;
    let part = |log_grad: Output| -> Result<Output> {
        let sums = g.cumulative_logsumexp(g.sub(log_grad, op.output(0))?, axis, options)?;
        g.exp(g.add(sums, x)?)
    };
    let (positive, negative) = (part(positive)?, part(negative)?);
    first_of_two(g.sub(positive, negative)?)
}
