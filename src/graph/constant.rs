//! Values that follow from constants and static shapes.

use super::Inner;
use super::node::{Node, Output};
use crate::graph::attr;
use crate::tensor::{DType, Shape, Tensor};

fn input_shape(inner: &Inner, node: &Node, index: usize) -> Option<Shape> {
    let input = node.inputs.get(index)?;
    inner.node(input.op).ok()?.shapes.as_ref()?.get(input.index as usize).cloned()
}

fn integers(dtype: DType, dims: &[usize], values: &[usize]) -> Option<Tensor> {
    match dtype {
        DType::Int32 => Tensor::new(dims, values.iter().map(|&v| i32::try_from(v).ok()).collect::<Option<Vec<i32>>>()?).ok(),
        DType::Int64 => Tensor::new(dims, values.iter().map(|&v| v as i64).collect()).ok(),
        _ => None,
    }
}

/// The shape of the value behind the handle at an input.
fn handle_shape(inner: &Inner, node: &Node, index: usize) -> Option<Shape> {
    let input = node.inputs.get(index)?;
    Some(inner.node(input.op).ok()?.handles.get(input.index as usize)?.as_ref()?.shape.clone())
}

/// The value that comes into a loop, and into those around it.
pub(super) fn before_enters(inner: &Inner, mut output: Output) -> Output {
    while let Ok(node) = inner.node(output.op)
        && matches!(&*node.op_type, "Enter" | "RefEnter")
        && let Some(&input) = node.inputs.first()
    {
        output = input;
    }
    output
}

/// The value of `Shape`, `Size`, `Rank`, and of one dimension of a shape, where the static shape tells it.
pub(super) fn from_static_shape(inner: &Inner, node: &Node) -> Option<Tensor> {
    let out_type = node.types.first()?.dtype;
    match &*node.op_type {
        "Shape" => {
            let dims = input_shape(inner, node, 0)?.to_dims()?;
            integers(out_type, &[dims.len()], &dims)
        }
        "Size" => integers(out_type, &[], &[input_shape(inner, node, 0)?.num_elements()?]),
        "Rank" => integers(out_type, &[], &[input_shape(inner, node, 0)?.rank()?]),
        "StridedSlice" => {
            let from = inner.node(node.inputs.first()?.op).ok()?;
            let is_shape = matches!(&*from.op_type, "Shape" | "ShapeN" | "VariableShape");
            let dim = if is_shape { scalar_of_shape(inner, node, 0)? } else { return None };
            integers(out_type, &[], &[usize::try_from(dim).ok()?])
        }
        _ => None,
    }
}

/// The value of an integer vector as a shape, as far as it is known: through `Shape`, `Pack`, `ConcatV2`,
/// `StridedSlice`, `Cast`, `Enter` and constants (TensorFlow's `ConstantPartialShape`).
pub(super) fn as_shape(inner: &Inner, output: Output) -> Shape {
    partial(inner, output, 0).unwrap_or_default()
}

fn partial(inner: &Inner, output: Output, depth: usize) -> Option<Shape> {
    if depth > 32 {
        return None;
    }
    let node = inner.node(output.op).ok()?;
    let static_shape = node.shapes.as_ref()?.get(output.index as usize)?;
    if static_shape.rank() == Some(0) {
        // A scalar of -1 stands for an unknown shape.
        return None;
    }
    let length = static_shape.dim(0);
    let fallback = || match length {
        Some(n) if static_shape.rank() == Some(1) && n <= 254 => Some(Shape::of_rank(n)),
        _ => None,
    };
    match &*node.op_type {
        "Shape" | "ShapeN" => return input_shape(inner, node, output.index as usize).or_else(fallback),
        "VariableShape" => return handle_shape(inner, node, 0).or_else(fallback),
        "Cast" | "Identity" | "Enter" => return partial(inner, *node.inputs.first()?, depth + 1),
        "Pack" => {
            let element = |&input: &Output| {
                let value = inner.evaluate(input).and_then(|t| t.item_i64().ok());
                value.or_else(|| scalar_of_shape(inner, inner.node(input.op).ok()?, depth + 1)).unwrap_or(-1)
            };
            return Some(Shape::from_signed(node.inputs.iter().map(element)));
        }
        "ConcatV2" => {
            let (_, values) = node.inputs.split_last()?;
            let mut shape = Shape::scalar();
            for &value in values {
                shape = shape.concatenate(&partial(inner, value, depth + 1)?);
            }
            return Some(shape);
        }
        "StridedSlice" => {
            if let Some(shape) = sliced(inner, node, depth) {
                return Some(shape);
            }
        }
        _ => {}
    }
    let Some(value) = inner.evaluate(output) else { return fallback() };
    let dims = value.to_i64s().ok()?;
    (value.rank() == 1).then(|| Shape::from_signed(dims.iter().copied()))
}

/// One dimension of a shape, taken by a `StridedSlice` that shrinks.
fn scalar_of_shape(inner: &Inner, node: &Node, depth: usize) -> Option<i64> {
    if &*node.op_type != "StridedSlice" || attr_int(inner, node, "shrink_axis_mask") != 1 {
        return None;
    }
    let shape = partial(inner, *node.inputs.first()?, depth + 1)?;
    let begin = inner.evaluate(*node.inputs.get(1)?)?.to_i64s().ok()?;
    let &[index] = begin.as_slice() else { return None };
    shape.dim(isize::try_from(index).ok()?).map(|d| d as i64)
}

fn attr_int(inner: &Inner, node: &Node, name: &str) -> i64 {
    inner.attr(node, name).and_then(|v| attr::int(v).ok()).unwrap_or(0)
}

fn sliced(inner: &Inner, node: &Node, depth: usize) -> Option<Shape> {
    for mask in ["ellipsis_mask", "new_axis_mask", "shrink_axis_mask"] {
        if attr_int(inner, node, mask) != 0 {
            return None;
        }
    }
    let shape = partial(inner, *node.inputs.first()?, depth + 1)?;
    let rank = shape.rank()? as i64;
    let stride = *inner.evaluate(*node.inputs.get(3)?)?.to_i64s().ok()?.first()?;
    let (first, last) = if stride > 0 { (0, rank) } else { (-1, rank - 1) };
    let bound = |index: usize, mask: &str, default: i64| -> Option<i64> {
        if attr_int(inner, node, mask) & 1 == 1 {
            return Some(default);
        }
        let value = *inner.evaluate(*node.inputs.get(index)?)?.to_i64s().ok()?.first()?;
        Some(if value < 0 { value.saturating_add(rank) } else { value }.clamp(first, last))
    };
    let (ahead, back) = if stride > 0 { (first, last) } else { (last, first) };
    let (mut at, end) = (bound(1, "begin_mask", ahead)?, bound(2, "end_mask", back)?);
    let mut dims = Vec::new();
    while stride != 0 && (end - at).signum() == stride.signum() {
        dims.push(shape.dim(at as isize).map_or(-1, |d| d as i64));
        at = at.saturating_add(stride);
    }
    (stride != 0).then(|| Shape::from_signed(dims))
}
