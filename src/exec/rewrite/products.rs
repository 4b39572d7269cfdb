//! Products of a loop with a matrix that stays the same: the part that doesn't depend on the iteration is computed before
//! the loop, and what is cut away after the product is not computed.

use super::super::dataflow::{Action, Dataflow, FlowNode, Source};
use super::layouts::{Layout, stays};
use crate::compute::gemm::{Matrix, MatrixMut, Onto, gemm};
use crate::compute::{elementwise::concatenate, scratch};
use crate::error::{Result, bail};
use crate::graph::op::{Control, Kernel, KernelCtx, NodeInfo, Value};
use crate::graph::run_pure;
use crate::ops::tensor_array_elements;
use crate::tensor::{DType, Tensor};
use smallvec::SmallVec;
use std::sync::Arc;

/// Products that would take more memory than this, in bytes, are left in the loop.
const LARGEST: usize = 64 << 20;

/// An op that a rewrite runs itself where its own way doesn't fit.
pub(super) struct Original {
    info: Arc<NodeInfo>,
    kernel: Kernel,
}

impl Original {
    pub fn of(node: &FlowNode) -> Option<Original> {
        let kernel = node.kernel().filter(|_| node.is_pure())?;
        Some(Original { info: node.info.clone(), kernel })
    }

    pub fn run(&self, inputs: &[&Tensor]) -> Result<Tensor> {
        let inputs = inputs.iter().map(|&t| Value::Tensor(t.clone())).collect();
        match run_pure(&self.info, self.kernel, inputs)?.into_iter().next() {
            Some(Value::Tensor(tensor)) => Ok(tensor),
            _ => bail!(Internal, "{} gives no tensor", self.info.op),
        }
    }
}

/// The Enter of a value that stays the same in the loop, by its position.
pub(super) fn constant_enter(flow: &Dataflow, source: Source) -> Option<usize> {
    match source {
        Source::Node(n, 0) if flow.nodes[n].control() == Some(Control::Enter) => {
            let enter = &flow.nodes[n];
            (enter.info.boolean("is_constant").ok()? && enter.controls.is_empty()).then_some(n)
        }
        _ => None,
    }
}

pub(super) fn is_plain_product(node: &FlowNode, transpose_b: bool) -> bool {
    let flag = |name: &str| node.info.boolean(name).unwrap_or(false);
    node.is_op(&["MatMul"])
        && !flag("transpose_a")
        && flag("transpose_b") == transpose_b
        && node.info.output_types.first() == Some(&DType::Float)
}

/// `concat([x, h]) W` in a loop, where x is read from a TensorArray that was filled before the loop and W stays the same:
/// the products of all x with their part of W are computed at once before the loop, and each iteration adds that of h.
pub(super) fn products_before_loops(flow: &mut Dataflow, lay_out: bool) {
    for product in 0..flow.nodes.len() {
        if let Some(found) = find_input_product(flow, product) {
            found.apply(flow, Layout::new(lay_out, true));
        }
    }
}

struct InputProduct {
    product: usize,
    original: Original,
    concat: Original,
    /// The Enters of the array, of its flow and of the matrix.
    enters: [usize; 3],
    index: Source,
    x: Source,
    h: Source,
    axis: Source,
}

fn find_input_product(flow: &Dataflow, product: usize) -> Option<InputProduct> {
    let node = &flow.nodes[product];
    if !is_plain_product(node, false) {
        return None;
    }
    let &[Source::Node(concat, 0), weights] = &node.inputs[..] else { return None };
    let concat_node = &flow.nodes[concat];
    if !concat_node.is_op(&["ConcatV2"]) {
        return None;
    }
    let &[x @ Source::Node(read, 0), h, axis @ Source::Node(axis_node, 0)] = &concat_node.inputs[..] else { return None };
    let read = &flow.nodes[read];
    if !read.is_op(&["TensorArrayReadV3"]) || !flow.nodes[axis_node].is_op(&["Const"]) {
        return None;
    }
    if !matches!(flow.nodes[axis_node].info.tensor("value").ok()?.item_i64(), Ok(-1 | 1)) {
        return None;
    }
    let enters = [constant_enter(flow, read.inputs[0])?, constant_enter(flow, read.inputs[2])?, constant_enter(flow, weights)?];
    let refers = |enter: &usize| matches!(flow.nodes[*enter].inputs[0], Source::Node(n, o) if flow.nodes[n].gives_ref(o));
    let frame = |enter: usize| flow.nodes[enter].info.string("frame_name").ok();
    if enters.iter().any(refers) || frame(enters[0]) != frame(enters[2]) {
        return None;
    }
    let (original, concat) = (Original::of(node)?, Original::of(concat_node)?);
    Some(InputProduct { product, original, concat, enters, index: read.inputs[1], x, h, axis })
}

impl InputProduct {
    fn apply(self, flow: &mut Dataflow, layout: Layout) {
        let outside = self.enters.iter().map(|&e| flow.nodes[e].inputs[0]).collect();
        let before = flow.add_made(self.enters[2], "InputProducts", outside, 1, Box::new(input_products));
        let model = &flow.nodes[self.enters[2]];
        let Action::Op(op) = model.action else { return };
        let enter = FlowNode {
            info: model.info.clone(),
            action: Action::Op(op),
            inputs: SmallVec::from_slice(&[Source::Node(before, 0)]),
            controls: SmallVec::new(),
            position: model.position,
        };
        flow.nodes.push(enter);
        let enter = flow.nodes.len() - 1;
        let weights = Source::Node(self.enters[2], 0);
        let InputProduct { product, original, concat, index, x, h, axis, .. } = self;
        flow.nodes[product].inputs = SmallVec::from_slice(&[Source::Node(enter, 0), index, h, weights, x, axis]);
        flow.nodes[product].action = Action::Made(Box::new(move |ctx: &mut KernelCtx| {
            if let Some(sum) = add_product(ctx, &layout)? {
                return ctx.set(0, sum);
            }
            let whole = concat.run(&[ctx.input(4)?, ctx.input(2)?, ctx.input(5)?])?;
            let product = match layout.product(&whole, ctx.input(3)?, false)? {
                Some(product) => product,
                None => original.run(&[&whole, ctx.input(3)?])?,
            };
            ctx.set(0, product)
        }));
    }
}

/// The products `[T, B, N]` of an array's elements `[B, V]` with the first V rows of a matrix `[V + H, N]`; empty where
/// there is nothing to gain or the elements aren't such.
fn input_products(ctx: &mut KernelCtx) -> Result<()> {
    let products = products_of_elements(ctx).ok().flatten();
    let none = || Tensor::zeros(DType::Float, &[0]);
    let value = products.map_or_else(none, Ok)?;
    ctx.set(0, value)
}

fn products_of_elements(ctx: &KernelCtx) -> Result<Option<Tensor>> {
    let Some(elements) = tensor_array_elements(ctx)? else { return Ok(None) };
    let weights = ctx.input(2)?;
    let (Some(first), &[rows, n]) = (elements.first(), weights.dims()) else { return Ok(None) };
    let &[batch, v] = first.dims() else { return Ok(None) };
    let same = elements.iter().all(|e| e.dtype() == DType::Float && e.dims() == first.dims());
    let count = elements.len() * batch;
    if elements.len() < 2 || !same || v > rows || count == 0 || v == 0 || count.saturating_mul(n) > LARGEST / 4 {
        return Ok(None);
    }
    let mut all = scratch::take::<f32>(count * v);
    concatenate(&elements.iter().map(Tensor::as_slice).collect::<Result<Vec<_>>>()?, &mut all);
    let mut products = Tensor::uninit(DType::Float, &[elements.len(), batch, n])?;
    let part = Matrix::new(&weights.as_slice::<f32>()?[..v * n], v, n);
    gemm(Matrix::new(&all, count, v), part, MatrixMut::new(products.as_mut_slice()?, count, n), Onto::Nothing);
    Ok(Some(products))
}

/// `products[index] + h W[V..]`, where the shapes fit.
fn add_product(ctx: &KernelCtx, layout: &Layout) -> Result<Option<Tensor>> {
    let (products, h, weights) = (ctx.input(0)?, ctx.input(2)?, ctx.input(3)?);
    let (&[steps, batch, n], &[rows, hidden], &[depth, columns]) = (products.dims(), h.dims(), weights.dims()) else {
        return Ok(None);
    };
    let (Ok(index), x) = (ctx.input(1)?.item_i64(), ctx.input(4)?.dims()) else { return Ok(None) };
    let Some(index) = usize::try_from(index).ok().filter(|&i| i < steps) else { return Ok(None) };
    if rows != batch || columns != n || hidden > depth || *x != [batch, depth - hidden] {
        return Ok(None);
    }
    let mut sum = Tensor::uninit(DType::Float, &[batch, n])?;
    let out = sum.as_mut_slice::<f32>()?;
    let of_x = Matrix::new(&products.as_slice::<f32>()?[index * batch * n..][..batch * n], batch, n);
    let part = Matrix::new(&weights.as_slice::<f32>()?[(depth - hidden) * n..], hidden, n);
    let h = Matrix::new(h.as_slice()?, batch, hidden);
    layout.multiply((weights, (depth - hidden, depth)), h, part, MatrixMut::new(out, batch, n), Onto::Rows(of_x));
    Ok(Some(sum))
}

/// `Slice(A Bᵀ)`, where nothing else needs the product: only the columns that are kept are computed.
pub(super) fn slice_before_products(flow: &mut Dataflow, lay_out: bool) {
    let (consumers, waited, fetched, targeted) = (flow.consumers(), flow.waited(), flow.fetched(), flow.targeted());
    for slice in 0..flow.nodes.len() {
        let node = &flow.nodes[slice];
        if !node.is_op(&["Slice"]) {
            continue;
        }
        let &[Source::Node(product, 0), begin, size] = &node.inputs[..] else { continue };
        let product_node = &flow.nodes[product];
        let alone = consumers[product].len() == 1 && !waited[product] && !fetched[product] && !targeted[product];
        if !alone || !is_plain_product(product_node, true) {
            continue;
        }
        let (Some(whole), Some(cut)) = (Original::of(product_node), Original::of(node)) else { continue };
        let [a, b] = product_node.inputs[..] else { continue };
        let controls = product_node.controls.clone();
        let layout = Layout::new(lay_out, stays(flow, b));
        let node = &mut flow.nodes[slice];
        node.inputs = SmallVec::from_slice(&[a, b, begin, size]);
        for control in controls {
            if !node.controls.contains(&control) {
                node.controls.push(control);
            }
        }
        node.action = Action::Made(Box::new(move |ctx: &mut KernelCtx| {
            if let Some(part) = sliced_product(ctx, &layout)? {
                return ctx.set(0, part);
            }
            let product = whole.run(&[ctx.input(0)?, ctx.input(1)?])?;
            let part = cut.run(&[&product, ctx.input(2)?, ctx.input(3)?])?;
            ctx.set(0, part)
        }));
    }
}

/// All rows and some columns of `A Bᵀ`, if that is what begin and size ask for.
fn sliced_product(ctx: &KernelCtx, layout: &Layout) -> Result<Option<Tensor>> {
    let (a, b) = (ctx.input(0)?, ctx.input(1)?);
    let (&[m, k], &[n, depth]) = (a.dims(), b.dims()) else { return Ok(None) };
    let (begin, size) = (ctx.input(2)?.to_i64s()?, ctx.input(3)?.to_i64s()?);
    let (&[0, first], &[rows, columns]) = (&begin[..], &size[..]) else { return Ok(None) };
    let first = usize::try_from(first).unwrap_or(usize::MAX);
    let columns = if columns == -1 { n.saturating_sub(first) } else { usize::try_from(columns).unwrap_or(usize::MAX) };
    let all_rows = rows == -1 || rows == m as i64;
    if k != depth || !all_rows || first.checked_add(columns).is_none_or(|end| end > n) {
        return Ok(None);
    }
    let mut out = Tensor::uninit(DType::Float, &[m, columns])?;
    let part = Matrix::new(&b.as_slice::<f32>()?[first * k..(first + columns) * k], columns, k).transposed();
    let (a, c) = (Matrix::new(a.as_slice()?, m, k), MatrixMut::new(out.as_mut_slice()?, m, columns));
    layout.multiply((b, (first, first + columns)), a, part, c, Onto::Nothing);
    Ok(Some(out))
}
