//! Matrices that stay the same are laid out once for the products with them.

use super::super::dataflow::{Action, Dataflow, Source};
use super::products::{Original, constant_enter, is_plain_product};
use crate::compute::gemm::{Matrix, MatrixMut, Onto, PackedB, gemm};
use crate::error::Result;
use crate::graph::op::KernelCtx;
use crate::tensor::{DType, Tensor};
use std::sync::{Arc, Mutex, PoisonError};

/// Elements of matrices that are laid out: smaller ones are read fast as they are, larger ones at each product, in parts.
const SIZES: std::ops::RangeInclusive<usize> = 1 << 12..=16 << 20;

/// Products of at most this many rows or columns are bound by reading the matrix.
const FEW: usize = 3;

/// A product of few rows lays out what it takes when it takes it for this time: that costs as much as some products.
const FEW_ROWS_FROM: usize = 4;

/// The layout of the matrix that a product takes, or of a part of it, kept as long as that stays the same.
pub(super) struct Layout {
    /// None where matrices are not to be laid out.
    kept: Option<Mutex<Kept>>,
    /// Whether the matrix is known to stay the same in a loop.
    stays: bool,
}

#[derive(Default)]
struct Kept {
    /// The matrix, by its tensor's stamp, and the part of it.
    of: Option<((u64, usize), (usize, usize))>,
    /// How often it was taken.
    uses: usize,
    panels: Option<Arc<PackedB<f32>>>,
    /// The layout of what was taken before, for its memory.
    old: Option<Arc<PackedB<f32>>>,
}

impl Layout {
    pub fn new(lay_out: bool, stays: bool) -> Layout {
        Layout { kept: lay_out.then(Mutex::default), stays }
    }

    /// The product as of `gemm`, where `b` is the part `part` of `whole`.
    pub fn multiply(
        &self,
        (whole, part): (&Tensor, (usize, usize)),
        a: Matrix<'_, f32>,
        b: Matrix<'_, f32>,
        c: MatrixMut<'_, f32>,
        onto: Onto<'_, f32>,
    ) {
        let from = match a.rows() {
            0 => None,
            // Where rows are read as they lie, sums keep their order; columns without gaps are read fast as they are.
            1..=FEW => b.lies_by_rows().then_some(FEW_ROWS_FROM),
            // Others would change the order of their sums, so they do it from the first time on or never.
            _ => self.stays.then_some(1),
        };
        let pays = b.columns() > FEW && SIZES.contains(&b.rows().saturating_mul(b.columns()));
        match from.filter(|_| pays).and_then(|from| self.panels(from, whole.stamp()?, part, b)) {
            Some(panels) => panels.multiply(a, c, onto),
            None => gemm(a, b, c, onto),
        }
    }

    /// The product of two matrices, if that is what they are and their sizes fit.
    pub fn product(&self, a: &Tensor, b: &Tensor, transpose_b: bool) -> Result<Option<Tensor>> {
        let (&[m, k], &[rows, columns]) = (a.dims(), b.dims()) else { return Ok(None) };
        let (depth, n) = if transpose_b { (columns, rows) } else { (rows, columns) };
        if k != depth {
            return Ok(None);
        }
        let mut product = Tensor::uninit(DType::Float, &[m, n])?;
        let matrix = Matrix::new(b.as_slice()?, rows, columns).transposed_if(transpose_b);
        let c = MatrixMut::new(product.as_mut_slice()?, m, n);
        self.multiply((b, (0, n)), Matrix::new(a.as_slice()?, m, k), matrix, c, Onto::Nothing);
        Ok(Some(product))
    }

    /// The layout, if this is at least the `from`th time that the matrix is taken.
    fn panels(&self, from: usize, stamp: (u64, usize), part: (usize, usize), b: Matrix<'_, f32>) -> Option<Arc<PackedB<f32>>> {
        let mut kept = self.kept.as_ref()?.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.of != Some((stamp, part)) {
            let old = kept.panels.take().or(kept.old.take());
            *kept = Kept { of: Some((stamp, part)), uses: 0, panels: None, old };
        }
        kept.uses += 1;
        if kept.panels.is_none() && kept.uses >= from {
            let old = kept.old.take().and_then(Arc::into_inner);
            kept.panels = Some(Arc::new(PackedB::in_memory_of(old, b)));
        }
        kept.panels.clone()
    }
}

/// Whether a value comes from outside of a loop and is no reference, so that it stays the same in it.
pub(super) fn stays(flow: &Dataflow, value: Source) -> bool {
    let refers = |enter: usize| matches!(flow.nodes[enter].inputs[0], Source::Node(n, o) if flow.nodes[n].gives_ref(o));
    constant_enter(flow, value).is_some_and(|enter| !refers(enter))
}

/// Lays out the right operand of each product where it stays the same.
pub(super) fn lay_out_matrices(flow: &mut Dataflow) {
    for product in 0..flow.nodes.len() {
        let node = &flow.nodes[product];
        let transpose_b = is_plain_product(node, true);
        if !transpose_b && !is_plain_product(node, false) {
            continue;
        }
        let (Some(original), &[_, matrix]) = (Original::of(node), &node.inputs[..]) else { continue };
        let layout = Layout::new(true, stays(flow, matrix));
        flow.nodes[product].action = Action::MadePure(Box::new(move |ctx: &mut KernelCtx| {
            let product = match layout.product(ctx.input(0)?, ctx.input(1)?, transpose_b)? {
                Some(product) => product,
                None => original.run(&[ctx.input(0)?, ctx.input(1)?])?,
            };
            ctx.set(0, product)
        }));
    }
}
