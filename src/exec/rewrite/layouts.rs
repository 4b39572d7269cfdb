//! Matrices that stay the same in a loop are laid out once for the products with them.

use super::super::dataflow::{Action, Dataflow, Source};
use super::products::{Original, constant_enter, is_plain_product};
use crate::compute::gemm::{Matrix, MatrixMut, PackedB, gemm};
use crate::error::Result;
use crate::graph::op::KernelCtx;
use crate::tensor::{DType, Handle, Tensor, Variant};
use std::any::Any;
use std::sync::{Arc, OnceLock};

/// Products of at most this many rows or columns read the matrix as it is.
const FEW: usize = 3;

/// Larger matrices, in bytes, are laid out at each product, in parts.
const LARGEST: usize = 64 << 20;

/// A part of a matrix laid out for products, once the first of them needs it.
#[derive(Default)]
struct MatrixLayout(OnceLock<((usize, usize), PackedB<f32>)>);

impl std::fmt::Debug for MatrixLayout {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("MatrixLayout").field(&self.0.get().map(|l| l.0)).finish()
    }
}

impl Variant for MatrixLayout {
    fn type_name(&self) -> &'static str {
        "metagraph::MatrixLayout"
    }
}

/// Whether a value comes from outside of a loop and is no reference, so that it stays the same in it.
pub(super) fn stays(flow: &Dataflow, value: Source) -> bool {
    let refers = |enter: usize| matches!(flow.nodes[enter].inputs[0], Source::Node(n, o) if flow.nodes[n].gives_ref(o));
    constant_enter(flow, value).is_some_and(|enter| !refers(enter))
}

/// A node that gives the place for the layout of a matrix, for a product in the same loop. It depends on the matrix alone, so
/// that it runs once where the matrix stays the same.
pub(super) fn layout_of(flow: &mut Dataflow, product: usize, matrix: Source) -> Source {
    let make = |ctx: &mut KernelCtx| ctx.set(0, Tensor::variant(Arc::new(MatrixLayout::default())));
    let node = flow.add_made(product, "MatrixLayout", vec![matrix], 1, Box::new(make));
    if let Action::Made(kernel) = std::mem::replace(&mut flow.nodes[node].action, Action::Made(Box::new(|_| Ok(())))) {
        flow.nodes[node].action = Action::MadePure(kernel);
    }
    Source::Node(node, 0)
}

/// `c = a b` or `c += a b`, where `b` is the part `part` of the matrix whose layout is input `input` of the node, if it has
/// such an input.
pub(super) fn multiply(
    ctx: &KernelCtx,
    input: usize,
    part: (usize, usize),
    a: Matrix<'_, f32>,
    b: Matrix<'_, f32>,
    c: MatrixMut<'_, f32>,
    accumulate: bool,
) -> Result<()> {
    let pays = a.rows() > FEW && b.columns() > FEW && b.rows().saturating_mul(b.columns()) <= LARGEST / 4;
    if pays && input < ctx.num_inputs() {
        let layout = match ctx.input(input)?.handles()? {
            [Handle::Variant(variant)] => {
                let any: Arc<dyn Any + Send + Sync> = variant.clone();
                any.downcast::<MatrixLayout>().ok()
            }
            _ => None,
        };
        if let Some(layout) = &layout {
            let (known, packed) = layout.0.get_or_init(|| (part, PackedB::new(b)));
            if *known == part && (packed.rows(), packed.columns()) == (b.rows(), b.columns()) {
                packed.multiply(a, c, accumulate);
                return Ok(());
            }
        }
    }
    gemm(a, b, c, accumulate);
    Ok(())
}

/// Lays out the right operand of each product in a loop where it stays the same.
pub(super) fn lay_out_matrices(flow: &mut Dataflow) {
    for product in 0..flow.nodes.len() {
        let node = &flow.nodes[product];
        let transpose_b = is_plain_product(node, true);
        if !transpose_b && !is_plain_product(node, false) {
            continue;
        }
        let (Some(original), &[_, matrix]) = (Original::of(node), &node.inputs[..]) else { continue };
        if !stays(flow, matrix) {
            continue;
        }
        let layout = layout_of(flow, product, matrix);
        flow.nodes[product].inputs.push(layout);
        flow.nodes[product].action = Action::Made(Box::new(move |ctx: &mut KernelCtx| {
            let product = match laid_out_product(ctx, transpose_b)? {
                Some(product) => product,
                None => original.run(&[ctx.input(0)?, ctx.input(1)?])?,
            };
            ctx.set(0, product)
        }));
    }
}

/// The product of two matrices, if that is what they are and their sizes fit.
fn laid_out_product(ctx: &KernelCtx, transpose_b: bool) -> Result<Option<Tensor>> {
    let (a, b) = (ctx.input(0)?, ctx.input(1)?);
    let (&[m, k], &[rows, columns]) = (a.dims(), b.dims()) else { return Ok(None) };
    let (depth, n) = if transpose_b { (columns, rows) } else { (rows, columns) };
    if k != depth {
        return Ok(None);
    }
    let mut product = Tensor::uninit(DType::Float, &[m, n])?;
    let b = Matrix::new(b.as_slice()?, rows, columns);
    let b = if transpose_b { b.transposed() } else { b };
    let c = MatrixMut::new(product.as_mut_slice()?, m, n);
    multiply(ctx, 2, (0, n), Matrix::new(a.as_slice()?, m, k), b, c, false)?;
    Ok(Some(product))
}
