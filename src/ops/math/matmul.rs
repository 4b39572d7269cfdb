//! Products of matrices and of batches of matrices.

use super::broadcast::{Broadcast, incompatible};
use super::grad;
use super::number::Number;
use crate::compute::gemm::{GemmElement, Matrix, MatrixMut, Onto, gemm};
use crate::compute::pool;
use crate::error::{Result, bail};
use crate::graph::op::{Grad, GradFn, InferCtx, Kernel, KernelCtx, KernelFn, Op};
use crate::ops::shape::broadcast_shapes;
use crate::tensor::{DType, Element, Shape, Tensor, dispatch};
use half::bf16;
use std::borrow::Cow;

const fn batch(
    name: &'static str,
    attrs: &'static [&'static str],
    kernel: KernelFn,
    grad: GradFn,
    rows: &'static [&'static str],
) -> Op {
    Op {
        name,
        ins: &["x: T", "y: T"],
        outs: &["output: T"],
        attrs,
        shape: batch_shape,
        kernel: Kernel::Pure(kernel),
        grad: Grad::Fn(grad),
        rows,
    }
}

pub(in crate::ops) static OPS: &[Op] = &[
    Op {
        name: "MatMul",
        ins: &["a: T", "b: T"],
        outs: &["product: T"],
        attrs: &[
            "transpose_a: bool = false",
            "transpose_b: bool = false",
            "T: {bfloat16, half, float, double, int32, int64, uint8, uint16, uint32, uint64, complex64, complex128}",
        ],
        shape: matmul_shape,
        kernel: Kernel::Pure(matmul),
        grad: Grad::Fn(grad::matmul),
        rows: &[
            "f32[[1 2] [3 4]], f32[[5] [6]] => f32[[17] [39]]",
            "transpose_a=true, transpose_b=true; i32[[1] [2]], i32[[3 4]] => i32{1,1}[11]",
            "transpose_a=true; c64[[0:1]], c64[[0:1]] => c64[[-1:0]]",
            "f64{2,0}[], f64{0,3}[] => f64[[0 0 0] [0 0 0]]",
        ],
    },
    batch(
        "BatchMatMul",
        &[
            "T: {bfloat16, half, float, double, int32, int64, complex64, complex128}",
            "adj_x: bool = false",
            "adj_y: bool = false",
        ],
        batch_matmul,
        grad::batch_matmul,
        &[
            "adj_x=true; c64[[0:1]], c64[[0:1]] => c64[[1:0]]",
            "f32[[[1 2]] [[3 4]]], f32[[[1] [2]] [[3] [4]]] => f32[[[5]] [[25]]]",
        ],
    ),
    batch(
        "BatchMatMulV2",
        &[
            "T: {bfloat16, half, float, double, int16, int32, int64, uint8, uint16, uint32, uint64, complex64, complex128}",
            "adj_x: bool = false",
            "adj_y: bool = false",
        ],
        batch_matmul_v2,
        grad::batch_matmul_v2,
        &[
            "f32[[[1 2]] [[3 4]]], f32[[1] [2]] => f32[[[5]] [[11]]]",
            "adj_y=true; f16[[1 2]], f16[[[1 2]] [[3 4]]] => f16[[[5]] [[11]]]",
            "f32{0,1,2}[], f32{1,2,3}[1] => f32{0,1,3}[]",
        ],
    ),
    Op {
        name: "BatchMatMulV3",
        ins: &["x: Ta", "y: Tb"],
        outs: &["output: Tout"],
        attrs: &[
            "Ta: {bfloat16, half, float, double, uint8, int8, int16, int32, int64, complex64, complex128}",
            "Tb: {bfloat16, half, float, double, uint8, int8, int16, int32, int64, complex64, complex128}",
            "Tout: {bfloat16, half, float, double, int16, int32, int64, complex64, complex128}",
            "adj_x: bool = false",
            "adj_y: bool = false",
        ],
        shape: batch_shape,
        kernel: Kernel::Pure(batch_matmul_v3),
        grad: Grad::Fn(grad::batch_matmul_v2),
        rows: &["Tout=i32; i8[[100 100]], u8[[100] [200]] => i32[[30000]]", "Tout=f32; f32[[1 2]], f32[[3] [4]] => f32[[11]]"],
    },
    Op {
        name: "SparseMatMul",
        ins: &["a: Ta", "b: Tb"],
        outs: &["product: float"],
        attrs: &[
            "transpose_a: bool = false",
            "transpose_b: bool = false",
            "a_is_sparse: bool = false",
            "b_is_sparse: bool = false",
            "Ta: {float, bfloat16} = DT_FLOAT",
            "Tb: {float, bfloat16} = DT_FLOAT",
        ],
        shape: matmul_shape,
        kernel: Kernel::Pure(sparse_matmul),
        grad: Grad::Fn(grad::sparse_matmul),
        rows: &["a_is_sparse=true; f32[[0 2]], bf16[[3] [4]] => f32[[8]]"],
    },
];

fn matmul_shape(ctx: &mut InferCtx) -> Result<()> {
    let (a, b) = (ctx.input(0).with_rank(2)?, ctx.input(1).with_rank(2)?);
    let (transpose_a, transpose_b) = (ctx.boolean("transpose_a")?, ctx.boolean("transpose_b")?);
    ctx.set(0, product_shape(&a, &b, transpose_a, transpose_b)?)
}

/// The shape of a product of two matrices.
fn product_shape(a: &Shape, b: &Shape, transpose_a: bool, transpose_b: bool) -> Result<Shape> {
    let (rows, inner_a) = if transpose_a { (a.dim(1), a.dim(0)) } else { (a.dim(0), a.dim(1)) };
    let (inner_b, columns) = if transpose_b { (b.dim(1), b.dim(0)) } else { (b.dim(0), b.dim(1)) };
    if let (Some(p), Some(q)) = (inner_a, inner_b)
        && p != q
    {
        bail!(InvalidArgument, "Dimensions must be equal, but are {p} and {q} for a product of matrices of shapes {a} and {b}");
    }
    Ok(Shape::matrix(rows, columns))
}

fn batch_shape(ctx: &mut InferCtx) -> Result<()> {
    let (x, y) = (ctx.input(0).with_rank_at_least(2)?, ctx.input(1).with_rank_at_least(2)?);
    let (adj_x, adj_y) = (ctx.boolean("adj_x")?, ctx.boolean("adj_y")?);
    if x.rank().is_none() || y.rank().is_none() {
        return ctx.set(0, Shape::unknown());
    }
    let product = product_shape(&x.slice_from(-2), &y.slice_from(-2), adj_x, adj_y)?;
    let (batch_x, batch_y) = (x.slice(0, -2), y.slice(0, -2));
    let batch = match ctx.op.name {
        "BatchMatMul" => batch_x.merge(&batch_y)?,
        _ => broadcast_shapes(&batch_x, &batch_y)?,
    };
    ctx.set(0, batch.concatenate(&product))
}

fn matmul(ctx: &mut KernelCtx) -> Result<()> {
    let (a, b) = (ctx.input(0)?, ctx.input(1)?);
    let (transpose_a, transpose_b) = (ctx.node().boolean("transpose_a")?, ctx.node().boolean("transpose_b")?);
    let out = product(a, b, transpose_a, transpose_b)?;
    ctx.set(0, out)
}

/// The product of two matrices of one type.
///
/// # Errors
/// `InvalidArgument` where they aren't matrices or don't fit.
fn product(a: &Tensor, b: &Tensor, transpose_a: bool, transpose_b: bool) -> Result<Tensor> {
    for (index, matrix) in [a, b].into_iter().enumerate() {
        if matrix.rank() != 2 {
            bail!(InvalidArgument, "In[{index}] is not a matrix. Instead it has shape {:?}", matrix.dims());
        }
    }
    let rows = a.dims()[usize::from(transpose_a)];
    let columns = b.dims()[usize::from(!transpose_b)];
    if a.dims()[usize::from(!transpose_a)] != b.dims()[usize::from(transpose_b)] {
        bail!(InvalidArgument, "Matrix size-incompatible: In[0]: {:?}, In[1]: {:?}", a.dims(), b.dims());
    }
    let mut out = Tensor::uninit(a.dtype(), &[rows, columns])?;
    dispatch!(a.dtype(), numbers, T => {
        let left = Matrix::new(a.as_slice::<T>()?, a.dims()[0], a.dims()[1]).transposed_if(transpose_a);
        let right = Matrix::new(b.as_slice::<T>()?, b.dims()[0], b.dims()[1]).transposed_if(transpose_b);
        gemm(left, right, MatrixMut::new(out.as_mut_slice::<T>()?, rows, columns), Onto::Nothing);
    });
    Ok(out)
}

fn sparse_matmul(ctx: &mut KernelCtx) -> Result<()> {
    let widen = |t: &Tensor| -> Result<Tensor> {
        if t.dtype() == DType::Float {
            return Ok(t.clone());
        }
        Tensor::new(t.dims(), t.as_slice::<bf16>()?.iter().map(|v| v.to_f32()).collect())
    };
    let (a, b) = (widen(ctx.input(0)?)?, widen(ctx.input(1)?)?);
    let out = product(&a, &b, ctx.node().boolean("transpose_a")?, ctx.node().boolean("transpose_b")?)?;
    ctx.set(0, out)
}

fn batch_matmul(ctx: &mut KernelCtx) -> Result<()> {
    let (x, y) = (ctx.input(0)?, ctx.input(1)?);
    if x.rank() != y.rank() {
        bail!(InvalidArgument, "In[0] and In[1] has different ndims: {:?} vs. {:?}", x.dims(), y.dims());
    }
    if x.rank() >= 2 && x.dims()[..x.rank() - 2] != y.dims()[..y.rank() - 2] {
        bail!(InvalidArgument, "the batch dimensions of In[0] and In[1] must be the same: {:?} vs {:?}", x.dims(), y.dims());
    }
    batch_matmul_v2(ctx)
}

fn batch_matmul_v2(ctx: &mut KernelCtx) -> Result<()> {
    let (adj_x, adj_y) = (ctx.node().boolean("adj_x")?, ctx.node().boolean("adj_y")?);
    let out = batch_product(ctx.input(0)?, ctx.input(1)?, adj_x, adj_y)?;
    ctx.set(0, out)
}

fn batch_matmul_v3(ctx: &mut KernelCtx) -> Result<()> {
    let dtype = ctx.node().output_types[0];
    let (adj_x, adj_y) = (ctx.node().boolean("adj_x")?, ctx.node().boolean("adj_y")?);
    let (x, y) = (super::cast::cast_tensor(ctx.input(0)?, dtype)?, super::cast::cast_tensor(ctx.input(1)?, dtype)?);
    let out = batch_product(&x, &y, adj_x, adj_y)?;
    ctx.set(0, out)
}

/// The products of the matrices in the last two dimensions; the others broadcast. `adj` means the conjugate transpose.
///
/// # Errors
/// `InvalidArgument` where shapes don't fit.
pub(crate) fn batch_product(x: &Tensor, y: &Tensor, adj_x: bool, adj_y: bool) -> Result<Tensor> {
    for (index, matrices) in [x, y].into_iter().enumerate() {
        if matrices.rank() < 2 {
            bail!(InvalidArgument, "In[{index}] ndims must be >= 2: {}", matrices.rank());
        }
    }
    let (batch_x, matrix_x) = x.dims().split_at(x.rank() - 2);
    let (batch_y, matrix_y) = y.dims().split_at(y.rank() - 2);
    let Ok(broadcast) = Broadcast::new([batch_x, batch_y]) else {
        bail!(
            InvalidArgument,
            "In[0] and In[1] must have compatible batch dimensions: {}",
            incompatible(x.dims(), y.dims()).message()
        );
    };
    if matrix_x[usize::from(!adj_x)] != matrix_y[usize::from(adj_y)] {
        bail!(
            InvalidArgument,
            "Matrix size-incompatible: In[0] mismatch In[1] shape: {} vs. {}: {:?} {:?} {adj_x} {adj_y}",
            matrix_x[usize::from(!adj_x)],
            matrix_y[usize::from(adj_y)],
            x.dims(),
            y.dims()
        );
    }
    let (rows, columns) = (matrix_x[usize::from(adj_x)], matrix_y[usize::from(!adj_y)]);
    let mut dims = broadcast.dims.to_vec();
    dims.extend([rows, columns]);
    let mut out = Tensor::uninit(x.dtype(), &dims)?;
    dispatch!(x.dtype(), numbers, T => {
        let a = conjugated(x.as_slice::<T>()?, adj_x);
        let b = conjugated(y.as_slice::<T>()?, adj_y);
        let sides = [(&a[..], matrix_x, adj_x), (&b[..], matrix_y, adj_y)];
        products(&broadcast, sides, out.as_mut_slice::<T>()?);
    });
    Ok(out)
}

/// The conjugate elements, where they differ.
fn conjugated<T: Number>(data: &[T], adjoint: bool) -> Cow<'_, [T]> {
    if adjoint && T::DTYPE.is_complex() {
        return data.iter().map(|v| v.conj()).collect::<Vec<T>>().into();
    }
    data.into()
}

type Side<'a, T> = (&'a [T], &'a [usize], bool);

/// One matrix of a batch.
fn matrix_at<'a, T>(&(data, dims, transpose): &Side<'a, T>, index: usize) -> Matrix<'a, T> {
    let len = dims[0] * dims[1];
    Matrix::new(&data[index * len..][..len], dims[0], dims[1]).transposed_if(transpose)
}

fn products<T: Element + GemmElement>(broadcast: &Broadcast<2>, [a, b]: [Side<T>; 2], out: &mut [T]) {
    let (rows, columns) = (a.1[usize::from(a.2)], b.1[usize::from(!b.2)]);
    let (size, inner) = (rows * columns, a.1[usize::from(!a.2)]);
    if size == 0 {
        return;
    }
    // Positions of the matrices of each product.
    let mut pairs = Vec::with_capacity(out.len() / size);
    for run in broadcast.runs() {
        let at = |n: usize, i: usize| run.at[n] + if run.moves[n] { i } else { 0 };
        pairs.extend((0..run.len).map(|i| (at(0, i), at(1, i))));
    }
    let grain = (1usize << 16).div_ceil((size * inner).max(1));
    if pairs.len() > 1 && grain > 1 {
        return pool::parallel_pieces(out, size, grain, |first, piece| {
            for (i, c) in piece.chunks_mut(size).enumerate() {
                let (x, y) = pairs[first + i];
                gemm(matrix_at(&a, x), matrix_at(&b, y), MatrixMut::new(c, rows, columns), Onto::Nothing);
            }
        });
    }
    for (c, &(x, y)) in out.chunks_mut(size).zip(&pairs) {
        gemm(matrix_at(&a, x), matrix_at(&b, y), MatrixMut::new(c, rows, columns), Onto::Nothing);
    }
}
