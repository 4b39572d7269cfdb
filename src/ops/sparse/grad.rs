//! Gradients that emit more than one node.

use super::SparseTensor;
use crate::error::Result;
use crate::graph::gradient::{Gradient, Grads};
use crate::graph::{Graph, Operation, Output, attr};
use crate::ops::array::Idx;
use crate::ops::convert::Arg;
use crate::tensor::{DType, Tensor};

type Gradients = Result<Vec<Option<Gradient>>>;

/// What Python's `SparseTensor(...)` leaves in a graph: a scope's name in use.
fn sparse_tensor(g: &Graph, indices: Output, values: Output, dense_shape: Output) -> Result<SparseTensor> {
    drop(g.plain().enter("SparseTensor")?);
    Ok(SparseTensor::new(indices, values, dense_shape))
}

fn all() -> Idx {
    Idx::Range { start: None, stop: None, step: None }
}

fn boolean(g: &Graph, op: Operation, name: &str) -> Result<bool> {
    attr::boolean(&g.get_attr(op, name)?)
}

pub(super) fn reorder(g: &Graph, op: Operation, grads: &Grads) -> Gradients {
    let inputs = g.inputs(op);
    let count = g.index(g.shape_tensor(inputs[0])?, &[Idx::At(0i32.into())])?;
    let positions = g.call("Range").default_name("range").arg(0i32).arg(count).arg(1i32).output()?;
    let unordered = sparse_tensor(g, inputs[0], positions, inputs[2])?;
    let ordered = g.sparse_reorder(unordered)?;
    let inverse = g.invert_permutation(ordered.values)?;
    Ok(vec![None, Some(g.gather(grads.dense(g, 1)?, inverse)?.into()), None])
}

/// The shape of a reduced tensor with the reduced dimensions kept as 1: a value where shape and axes are constant.
fn reduced_shape(g: &Graph, shape: Output, axes: Output) -> Result<Arg> {
    let value = |output| g.constant_value(output).and_then(|v: Tensor| v.to_i64s().ok());
    if let (Some(mut sizes), Some(axes)) = (value(shape), value(axes)) {
        let rank = sizes.len() as i64;
        for axis in axes {
            let axis = if axis < 0 { axis + rank } else { axis };
            if let Some(size) = usize::try_from(axis).ok().and_then(|a| sizes.get_mut(a)) {
                *size = 1;
            }
        }
        return Ok(Arg::from(sizes.iter().map(|&s| s as i32).collect::<Vec<i32>>()));
    }
    let shape = g.call("Cast").arg(shape).attr("DstT", DType::Int32).output()?;
    let rank = g.size(shape)?;
    let sum = g.operator("add", "AddV2", axes, rank)?;
    let axes = g.operator("mod", "FloorMod", sum, rank)?;
    let axes_shape = g.shape_tensor(axes)?;
    let every = g.call("Range").default_name("range").arg(0i32).arg(rank).arg(1i32).output()?;
    let ones = g.ones(axes_shape, DType::Int32)?;
    Ok(g.op("DynamicStitch").input_list(&[every, axes]).input_list(&[shape, ones]).output()?.into())
}

pub(super) fn reduce_sum(g: &Graph, op: Operation, grads: &Grads) -> Gradients {
    let inputs = g.inputs(op);
    let kept = reduced_shape(g, inputs[2], inputs[3])?;
    let reshaped = g.reshape(grads.dense(g, 0)?, kept.clone())?;
    let kept = g.call("Cast").arg(kept).attr("DstT", DType::Int64).output()?;
    let scale = g.operator("floordiv", "FloorDiv", inputs[2], kept)?;
    let indices = g.operator("floordiv", "FloorDiv", inputs[0], scale)?;
    Ok(vec![None, Some(g.gather_nd(reshaped, indices)?.into()), None, None])
}

pub(super) fn matmul(g: &Graph, op: Operation, grads: &Grads) -> Gradients {
    let inputs = g.inputs(op);
    let (indices, b, grad) = (inputs[0], inputs[3], grads.dense(g, 0)?);
    let (adjoint_a, adjoint_b) = (boolean(g, op, "adjoint_a")?, boolean(g, op, "adjoint_b")?);
    let builder = g.op("SparseTensorDenseMatMul").input(indices).input(inputs[1]).input(inputs[2]).input(grad);
    let mut b_grad = builder.attr("adjoint_a", !adjoint_a).output()?;
    if adjoint_b {
        b_grad = g.matrix_transpose(b_grad, true)?;
    }
    let rows = g.index(indices, &[all(), Idx::At(0i32.into())])?;
    let columns = g.index(indices, &[all(), Idx::At(1i32.into())])?;
    let (of_grad, of_b) = if adjoint_a { (columns, rows) } else { (rows, columns) };
    let part_a = g.gather(grad, of_grad)?;
    let part_b = g.gather(if adjoint_b { g.transpose(b, None)? } else { b }, of_b)?;
    let (axis_a, axis_b): (i32, i32) = match (adjoint_a, adjoint_b) {
        (false, false) => (-2, -2),
        (true, false) => (-1, -1),
        (false, true) => (-2, -1),
        (true, true) => (-1, -2),
    };
    let (x, y) = (g.expand_dims(part_a, axis_a)?, g.expand_dims(part_b, axis_b)?);
    let product = g.op("BatchMatMulV2").name("MatMul").input(x).input(y);
    let product = product.attr("adj_x", adjoint_a).attr("adj_y", adjoint_a == adjoint_b).output()?;
    Ok(vec![None, Some(g.squeeze(product, &[-2, -1])?.into()), None, Some(b_grad.into())])
}

pub(super) fn cwise(g: &Graph, op: Operation, grads: &Grads, is_mul: bool) -> Gradients {
    let inputs = g.inputs(op);
    let (indices, x, x_shape, y) = (inputs[0], inputs[1], inputs[2], inputs[3]);
    let grad = grads.dense(g, 0)?;
    let y_shape = g.call("Cast").arg(g.shape_tensor(y)?).attr("DstT", DType::Int64).output()?;
    let (x_rank, y_rank) = (g.size(x_shape)?, g.size(y_shape)?);
    let added = g.expand_dims(g.operator("sub", "Sub", x_rank, y_rank)?, 0i32)?;
    let ones = g.ones(added, DType::Int64)?;
    let augmented = g.concat(&[ones.into(), y_shape.into()], 0i32)?;
    let scaling = g.operator("floordiv", "FloorDiv", x_shape, augmented)?;
    let scaled = g.operator("floordiv", "FloorDiv", indices, scaling)?;
    let start = g.concat(&[Arg::from([0i32]), added.into()], 0i32)?;
    let scaled = g.slice(scaled, start, [-1i32, -1])?;
    let beside = g.gather_nd(y, scaled)?;
    let (dx, dy) = if is_mul {
        (g.operator("mul", "Mul", grad, beside)?, g.operator("mul", "Mul", grad, x)?)
    } else {
        let dx = g.operator("truediv", "RealDiv", grad, beside)?;
        let negative = g.op("Neg").input(x).output()?;
        let square = g.op("Square").input(beside).output()?;
        let quotient = g.operator("truediv", "RealDiv", negative, square)?;
        (dx, g.operator("mul", "Mul", grad, quotient)?)
    };
    let zeros = g.zeros_like(y)?;
    let dy = sparse_tensor(g, scaled, dy, y_shape)?;
    let sum = g.op("SparseTensorDenseAdd").input(dy.indices).input(dy.values).input(dy.dense_shape).input(zeros).output()?;
    Ok(vec![None, Some(dx.into()), None, Some(sum.into())])
}

pub(super) fn softmax(g: &Graph, op: Operation, grads: &Grads) -> Gradients {
    let inputs = g.inputs(op);
    let (output, grad) = (op.output(0), grads.dense(g, 0)?);
    sparse_tensor(g, inputs[0], output, inputs[2])?;
    let sp_grad = sparse_tensor(g, inputs[0], grad, inputs[2])?;
    let product = g.operator("mul", "Mul", output, grad)?;
    let product = sparse_tensor(g, inputs[0], product, inputs[2])?;
    let sum = g.sparse_reduce_sum(product, Some([-1i32].into()), true)?;
    let negative = g.op("Neg").input(sum).output()?;
    let shifted = g.sparse_dense_cwise_add(sp_grad, negative)?;
    drop(g.plain().enter("SparseTensor")?);
    let result = g.operator("mul", "Mul", shifted.values, output)?;
    Ok(vec![None, Some(result.into()), None])
}

/// The sum of all elements, as `reduce_sum` without axes emits it.
fn total(g: &Graph, x: Output) -> Result<Output> {
    let axes = match g.shape(x)?.rank() {
        Some(rank) => g.constant((0..rank as i32).collect::<Vec<i32>>())?,
        None => {
            let rank = g.rank(x)?;
            g.call("Range").default_name("range").arg(0i32).arg(rank).arg(1i32).output()?
        }
    };
    g.op("Sum").input(x).input(axes).output()
}

pub(super) fn to_dense(g: &Graph, op: Operation, grads: &Grads) -> Gradients {
    let inputs = g.inputs(op);
    let grad = grads.dense(g, 0)?;
    let values = g.gather_nd(grad, inputs[0])?;
    let (whole, own) = (total(g, grad)?, total(g, values)?);
    let default = g.operator("sub", "Sub", whole, own)?;
    let (indices, shape) = (g.zeros_like(inputs[0])?, g.zeros_like(inputs[1])?);
    Ok(vec![Some(indices.into()), Some(shape.into()), Some(values.into()), Some(default.into())])
}

#[cfg(test)]
mod tests {
    use crate::grad::GradientOptions;
    use crate::{DType, Graph, Shape};

    /// The nodes, by name and type, that TensorFlow 2.15.1 emits for the gradient of the op over placeholders.
    fn check(op_type: &str, inputs: &str, adjoint: bool, expected: &str) -> crate::Result<()> {
        let g = Graph::new();
        let v = g.named("v").placeholder(DType::Float, Shape::of_rank(1))?;
        let mut builder = g.op(op_type).name("y");
        for input in inputs.split(' ') {
            builder = builder.input(match input {
                "i" => g.named("i").placeholder(DType::Int64, Shape::matrix(None, Some(2)))?,
                "s" => g.named("s").placeholder(DType::Int64, [2usize])?,
                "d" => g.named("d").placeholder(DType::Float, [3usize, 4])?,
                "zero" => g.named("zero").constant(0f32)?,
                "axes" => g.named("axes").constant([1i32])?,
                _ => v,
            });
        }
        if adjoint {
            builder = builder.attr("adjoint_a", true).attr("adjoint_b", true);
        }
        let y = builder.outputs()?;
        g.gradients(&[y[y.len() - 1]], &[v], &GradientOptions::default())?;
        let emitted = g.get_operations().into_iter().filter_map(|op| {
            let name = g.op_name(op);
            name.strip_prefix("gradients/y_grad/").map(|n| format!("{n}={}", g.op_type(op)))
        });
        assert_eq!(emitted.collect::<Vec<_>>(), expected.split_whitespace().collect::<Vec<_>>(), "{op_type}");
        Ok(())
    }

    #[test]
    fn nodes_are_those_of_tensorflow() -> crate::Result<()> {
        check(
            "SparseToDense",
            "i s v zero",
            false,
            "GatherNd=GatherNd Const=Const Sum=Sum Const_1=Const Sum_1=Sum sub=Sub zeros_like=ZerosLike \
             zeros_like_1=Const",
        )?;
        check(
            "SparseReorder",
            "i v s",
            false,
            "Shape=Shape strided_slice/stack=Const strided_slice/stack_1=Const strided_slice/stack_2=Const \
             strided_slice=StridedSlice range/start=Const range/delta=Const range=Range SparseReorder=SparseReorder \
             Identity=Identity InvertPermutation=InvertPermutation GatherV2/axis=Const GatherV2=GatherV2",
        )?;
        check(
            "SparseReduceSum",
            "i v s axes",
            false,
            "Cast=Cast Size=Const add=AddV2 mod=FloorMod Shape=Const range/start=Const range/delta=Const range=Range \
             ones/Const=Const ones=Fill DynamicStitch=DynamicStitch Reshape=Reshape Cast_1=Cast floordiv=FloorDiv \
             floordiv_1=FloorDiv GatherNd=GatherNd",
        )?;
        check(
            "SparseTensorDenseMatMul",
            "i v s d",
            false,
            "SparseTensorDenseMatMul=SparseTensorDenseMatMul strided_slice/stack=Const strided_slice/stack_1=Const \
             strided_slice/stack_2=Const strided_slice=StridedSlice strided_slice_1/stack=Const \
             strided_slice_1/stack_1=Const strided_slice_1/stack_2=Const strided_slice_1=StridedSlice \
             GatherV2/axis=Const GatherV2=GatherV2 GatherV2_1/axis=Const GatherV2_1=GatherV2 ExpandDims/dim=Const \
             ExpandDims=ExpandDims ExpandDims_1/dim=Const ExpandDims_1=ExpandDims MatMul=BatchMatMulV2 Squeeze=Squeeze",
        )?;
        check(
            "SparseTensorDenseMatMul",
            "i v s d",
            true,
            "SparseTensorDenseMatMul=SparseTensorDenseMatMul matrix_transpose/transpose/perm=Const \
             matrix_transpose/transpose=Transpose strided_slice/stack=Const strided_slice/stack_1=Const \
             strided_slice/stack_2=Const strided_slice=StridedSlice strided_slice_1/stack=Const \
             strided_slice_1/stack_1=Const strided_slice_1/stack_2=Const strided_slice_1=StridedSlice \
             GatherV2/axis=Const GatherV2=GatherV2 transpose/perm=Const transpose=Transpose GatherV2_1/axis=Const \
             GatherV2_1=GatherV2 ExpandDims/dim=Const ExpandDims=ExpandDims ExpandDims_1/dim=Const \
             ExpandDims_1=ExpandDims MatMul=BatchMatMulV2 Squeeze=Squeeze",
        )?;
        check(
            "SparseDenseCwiseMul",
            "i v s d",
            false,
            "Shape=Const Cast=Cast Size=Const Size_1=Const sub=Sub ExpandDims/dim=Const ExpandDims=ExpandDims \
             ones/Const=Const ones=Fill concat/axis=Const concat=ConcatV2 floordiv=FloorDiv floordiv_1=FloorDiv \
             concat_1/values_0=Const concat_1/axis=Const concat_1=ConcatV2 Slice/size=Const Slice=Slice \
             GatherNd=GatherNd mul=Mul mul_1=Mul zeros_like=Const SparseTensorDenseAdd=SparseTensorDenseAdd",
        )?;
        check(
            "SparseDenseCwiseDiv",
            "i v s d",
            false,
            "Shape=Const Cast=Cast Size=Const Size_1=Const sub=Sub ExpandDims/dim=Const ExpandDims=ExpandDims \
             ones/Const=Const ones=Fill concat/axis=Const concat=ConcatV2 floordiv=FloorDiv floordiv_1=FloorDiv \
             concat_1/values_0=Const concat_1/axis=Const concat_1=ConcatV2 Slice/size=Const Slice=Slice \
             GatherNd=GatherNd truediv=RealDiv Neg=Neg Square=Square truediv_1=RealDiv mul=Mul zeros_like=Const \
             SparseTensorDenseAdd=SparseTensorDenseAdd",
        )?;
        check(
            "SparseSoftmax",
            "i v s",
            false,
            "mul=Mul SparseReduceSum/reduction_axes=Const SparseReduceSum=SparseReduceSum Neg=Neg \
             SparseDenseCwiseAdd=SparseDenseCwiseAdd mul_1=Mul",
        )?;
        Ok(())
    }
}
