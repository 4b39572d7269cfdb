//! What Python knows of a tensor's value while the graph is built. Names of nodes depend on it, so it evaluates just the
//! ops that Python evaluates, where shape inference evaluates any pure op.

use crate::graph::attr;
use crate::graph::{Graph, Operation, Output};
use crate::tensor::{DType, Shape, Tensor};

impl Graph {
    /// The value of a tensor, if Python would know it (`tf.get_static_value`): constants, `Shape`, `Size` and `Rank` of
    /// static shapes, and `Range`, `Cast`, `Concat(V2)`, `Pack`, `Unpack`, `Split`, `Fill`, `Equal`, `NotEqual`, `Identity`
    /// and `StopGradient` of such.
    pub fn constant_value(&self, output: Output) -> Option<Tensor> {
        let op_type = self.op_type(output.op);
        match &*op_type {
            "Const" => attr::tensor(&self.get_attr(output.op, "value").ok()?).ok(),
            "Shape" | "Size" | "Rank" => self.static_shape_value(output, &op_type),
            "Fill" => {
                let dims = self.shape(output).ok()?.to_dims()?;
                let value = self.constant_value(self.input(output.op, 1).ok()?)?;
                let dims = Tensor::vector(&dims.iter().map(|&d| d as i64).collect::<Vec<_>>());
                let dims = match self.dtype(self.input(output.op, 0).ok()?).ok()? {
                    DType::Int32 => super::convert::cast_value(&dims, DType::Int32).ok()?,
                    _ => dims,
                };
                self.evaluate_node(output.op, vec![dims, value])?.pop()
            }
            "Pack" | "Unpack" if self.int_attr(output.op, "axis").ok() != Some(0) => None,
            "Range" | "Cast" | "Concat" | "ConcatV2" | "Pack" | "Unpack" | "Split" | "Equal" | "NotEqual" | "StopGradient"
            | "CheckNumericsV2" | "DebugIdentityV2" | "Identity" => {
                let inputs: Option<Vec<Tensor>> =
                    self.inputs(output.op).into_iter().map(|input| self.constant_value(input)).collect();
                self.evaluate_node(output.op, inputs?)?.into_iter().nth(output.index as usize)
            }
            _ => None,
        }
    }

    /// The value of an integer vector as a shape of which parts may be unknown, as far as Python would know it.
    pub fn constant_value_as_shape(&self, output: Output) -> Shape {
        self.as_shape(output).unwrap_or_default()
    }

    fn as_shape(&self, output: Output) -> Option<Shape> {
        let static_shape = self.shape(output).ok()?;
        if static_shape.rank() == Some(0) {
            return Some(Shape::unknown());
        }
        if static_shape.dim(0) == Some(0) {
            return Some(Shape::scalar());
        }
        let inputs = self.inputs(output.op);
        match &*self.op_type(output.op) {
            "Cast" => return self.as_shape(*inputs.first()?),
            "Shape" => return self.shape(*inputs.first()?).ok(),
            "Pack" => {
                let dim = |&i: &Output| self.constant_value(i).and_then(|v| v.item_i64().ok()).unwrap_or(-1);
                return Some(Shape::from_signed(inputs.iter().map(dim)));
            }
            "Concat" => return self.concatenated(inputs.get(1..)?),
            "ConcatV2" => return self.concatenated(inputs.split_last()?.1),
            "StridedSlice" => {
                if let Some(shape) = self.sliced_shape(output.op, &inputs) {
                    return Some(shape);
                }
            }
            _ => {}
        }
        match self.constant_value(output) {
            Some(value) => Some(Shape::from_signed(value.to_i64s().ok()?)),
            None => static_shape.dim(0).map(Shape::of_rank),
        }
    }

    fn concatenated(&self, parts: &[Output]) -> Option<Shape> {
        let mut shape = Shape::scalar();
        for &part in parts {
            shape = shape.concatenate(&self.as_shape(part)?);
        }
        Some(shape)
    }

    fn sliced_shape(&self, op: Operation, inputs: &[Output]) -> Option<Shape> {
        let first = |i: usize| self.constant_value(*inputs.get(i)?)?.to_i64s().ok()?.first().copied();
        let (begin, end, stride) = (first(1)?, first(2)?, first(3)?);
        let mask = |name: &str| self.int_attr(op, name).ok();
        for name in ["ellipsis_mask", "new_axis_mask", "shrink_axis_mask"] {
            if mask(name)? != 0 {
                return None;
            }
        }
        let (begin_mask, end_mask) = (mask("begin_mask")?, mask("end_mask")?);
        if !(0..=1).contains(&begin_mask) || !(0..=1).contains(&end_mask) || stride == 0 {
            return None;
        }
        let whole = self.as_shape(inputs[0])?;
        let Some(dims) = whole.signed() else { return Some(whole) };
        let range = python_range(dims.len(), (begin_mask == 0).then_some(begin), (end_mask == 0).then_some(end), stride);
        Some(Shape::from_signed(range.map(|i| dims[i])))
    }

    fn static_shape_value(&self, output: Output, op_type: &str) -> Option<Tensor> {
        let shape = self.shape(self.input(output.op, 0).ok()?).ok()?;
        let value = match op_type {
            "Shape" => Tensor::vector(&shape.to_dims()?.iter().map(|&d| d as i64).collect::<Vec<_>>()),
            "Size" => Tensor::scalar(shape.num_elements()? as i64),
            _ => Tensor::scalar(shape.rank()? as i64),
        };
        super::convert::cast_value(&value, self.dtype(output).ok()?).ok()
    }
}

/// The positions that Python's `[begin:end:stride]` takes of a list of this length.
fn python_range(length: usize, begin: Option<i64>, end: Option<i64>, stride: i64) -> impl Iterator<Item = usize> {
    let length = length as i64;
    let (low, high) = if stride > 0 { (0, length) } else { (-1, length - 1) };
    let clamp = |i: i64| (if i < 0 { i.saturating_add(length) } else { i }).clamp(low, high);
    let from = begin.map_or(if stride > 0 { low } else { high }, clamp);
    let to = end.map_or(if stride > 0 { high } else { low }, clamp);
    let mut at = from;
    std::iter::from_fn(move || {
        let inside = if stride > 0 { at < to } else { at > to };
        inside.then(|| {
            let now = at as usize;
            at = at.saturating_add(stride);
            now
        })
    })
}
