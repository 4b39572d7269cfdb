//! A sum over a loop's iterations of products becomes one product after the loop.
//!
//! A loop variable that only takes `v + Aᵀ B` at each iteration (as the gradient of a weight does) is turned into a
//! collector: each iteration appends the rows of A and B, and the Exit multiplies them at once, `v + [A₁; A₂; ...]ᵀ [B₁;
//! B₂; ...]`. A weight is then read and written once, not once an iteration.

use super::super::dataflow::{Action, Consumers, Dataflow, Source};
use super::super::frames;
use crate::compute::elementwise::concatenate;
use crate::compute::gemm::{Matrix, MatrixMut, Onto, gemm};
use crate::error::{Error, Result, bail};
use crate::graph::op::{Control, KernelCtx};
use crate::tensor::{DType, Tensor, Variant};
use std::any::Any;
use std::sync::{Arc, Mutex};

/// Once it holds this many numbers, a collector multiplies what it has.
const FLUSH_AT: usize = 1 << 24;

/// The nodes of a variable that sums products.
struct Sum {
    enter: usize,
    add: usize,
    switch_input: usize,
    product: usize,
    exit: usize,
}

/// Rewrites every sum of float32 products in a loop.
pub(super) fn products_after_loops(flow: &mut Dataflow) {
    let consumers = flow.consumers();
    let kept: Vec<bool> = flow.waited().iter().zip(&flow.fetched()).map(|(&w, &f)| w || f).collect();
    let sums: Vec<Sum> = (0..flow.nodes.len()).filter_map(|n| find(flow, n, &consumers, &kept)).collect();
    for sum in sums {
        apply(flow, &sum);
    }
}

fn find(flow: &Dataflow, merge: usize, consumers: &Consumers, kept: &[bool]) -> Option<Sum> {
    let control = |n: usize| flow.nodes[n].control();
    let only = |n: usize| match consumers[n][..] {
        [(user, _)] if !kept[n] => Some(user),
        _ => None,
    };
    if control(merge) != Some(Control::Merge) {
        return None;
    }
    let [Source::Node(enter, 0), Source::Node(next, 0)] = flow.nodes[merge].inputs[..] else { return None };
    if control(enter) != Some(Control::Enter) || !frames::is_back_edge(flow, next, merge) {
        return None;
    }
    if flow.nodes[enter].info.boolean("is_constant").ok()? || only(enter)? != merge || only(next)? != merge {
        return None;
    }
    let switch = only(merge)?;
    if !flow.nodes[switch].is_op(&["Switch"]) || flow.nodes[switch].inputs[0] != Source::Node(merge, 0) || kept[switch] {
        return None;
    }
    let (mut exit, mut add) = (None, None);
    for &(user, input) in &consumers[switch] {
        match flow.nodes[user].inputs[input] {
            Source::Node(_, 0) if control(user) == Some(Control::Exit) && exit.is_none() => exit = Some(user),
            Source::Node(_, 1) if add.is_none() => add = Some((user, input)),
            _ => return None,
        }
    }
    let (exit, (add, switch_input)) = (exit?, add?);
    let sums = flow.nodes[add].is_op(&["Add", "AddV2", "AddN"]) && flow.nodes[add].inputs.len() == 2;
    if !sums || only(add)? != next || flow.nodes[exit].info.output_types.first() != Some(&DType::Float) {
        return None;
    }
    let Source::Node(product, 0) = flow.nodes[add].inputs[1 - switch_input] else { return None };
    let node = &flow.nodes[product];
    let rows = node.is_op(&["MatMul"]) && node.info.boolean("transpose_a").ok()? && !node.info.boolean("transpose_b").ok()?;
    (rows && only(product)? == add).then_some(Sum { enter, add, switch_input, product, exit })
}

fn apply(flow: &mut Dataflow, sum: &Sum) {
    let start = flow.nodes[sum.enter].inputs[0];
    let collector = flow.add_made(sum.enter, "StartSum", vec![start], 1, Box::new(start_sum));
    flow.nodes[sum.enter].inputs[0] = Source::Node(collector, 0);

    for control in flow.nodes[sum.product].controls.clone() {
        if !flow.nodes[sum.add].controls.contains(&control) {
            flow.nodes[sum.add].controls.push(control);
        }
    }
    let token = flow.nodes[sum.add].inputs[sum.switch_input];
    let mut inputs = vec![token];
    inputs.extend(flow.nodes[sum.product].inputs.iter().copied());
    flow.nodes[sum.add].inputs = inputs.into();
    flow.nodes[sum.add].action = Action::Made(Box::new(collect));

    let finish = flow.add_made(sum.exit, "FinishSum", Vec::new(), 1, Box::new(finish_sum));
    flow.replace_sources(|s| if s == Source::Node(sum.exit, 0) { Source::Node(finish, 0) } else { s });
    flow.nodes[finish].inputs.push(Source::Node(sum.exit, 0));
}

/// The sum so far, and rows that are still to be multiplied.
#[derive(Debug)]
struct Collector(Mutex<Rows>);

#[derive(Debug)]
struct Rows {
    sum: Tensor,
    pairs: Vec<(Tensor, Tensor)>,
    /// The numbers in the pairs.
    held: usize,
}

impl Variant for Collector {
    fn type_name(&self) -> &'static str {
        "metagraph::SumOfProducts"
    }
}

impl Rows {
    fn multiply(&mut self) -> Result<()> {
        let &[m, n] = self.sum.dims() else { bail!(InvalidArgument, "a sum of products has shape {:?}", self.sum.dims()) };
        let pairs = std::mem::take(&mut self.pairs);
        self.held = 0;
        let rows: usize = pairs.iter().map(|p| p.0.dims()[0]).sum();
        if m == 0 || n == 0 || rows == 0 {
            return Ok(());
        }
        let a = stack(pairs.iter().map(|p| &p.0).collect(), m)?;
        let b = stack(pairs.iter().map(|p| &p.1).collect(), n)?;
        let (a, b) = (Matrix::new(a.as_slice()?, rows, m).transposed(), Matrix::new(b.as_slice()?, rows, n));
        if self.sum.is_unique() {
            gemm(a, b, MatrixMut::new(self.sum.as_mut_slice::<f32>()?, m, n), Onto::Itself);
        } else {
            let mut sum = Tensor::uninit(DType::Float, &[m, n])?;
            let before = Matrix::new(self.sum.as_slice()?, m, n);
            gemm(a, b, MatrixMut::new(sum.as_mut_slice()?, m, n), Onto::Rows(before));
            self.sum = sum;
        }
        Ok(())
    }
}

/// Matrices of the same number of columns below one another.
fn stack(parts: Vec<&Tensor>, columns: usize) -> Result<Tensor> {
    let parts = parts.into_iter().map(Tensor::as_slice::<f32>).collect::<Result<Vec<_>>>()?;
    let length: usize = parts.iter().map(|p| p.len()).sum();
    let mut all = Tensor::uninit(DType::Float, &[length / columns, columns])?;
    concatenate(&parts, all.as_mut_slice()?);
    Ok(all)
}

fn start_sum(ctx: &mut KernelCtx) -> Result<()> {
    let sum = ctx.take(0)?;
    ctx.set(0, Tensor::variant(Arc::new(Collector(Mutex::new(Rows { sum, pairs: Vec::new(), held: 0 })))))
}

fn collector(value: &Tensor) -> Result<Arc<Collector>> {
    let [crate::tensor::Handle::Variant(variant)] = value.handles()? else { bail!(Internal, "a sum's collector is missing") };
    let any: Arc<dyn Any + Send + Sync> = variant.clone();
    any.downcast().map_err(|_| Error::internal("a sum's collector is something else"))
}

fn collect(ctx: &mut KernelCtx) -> Result<()> {
    let collector = collector(ctx.input(0)?)?;
    let (a, b) = (ctx.input(1)?, ctx.input(2)?);
    let mut rows = collector.0.lock().unwrap_or_else(|e| e.into_inner());
    let (&[ra, m], &[rb, n]) = (a.dims(), b.dims()) else {
        bail!(InvalidArgument, "MatMul takes matrices, got {:?} and {:?}", a.dims(), b.dims())
    };
    if ra != rb || rows.sum.dims() != [m, n] {
        bail!(
            InvalidArgument,
            "Matrix size-incompatible: {:?} (transposed) and {:?}, added to {:?}",
            a.dims(),
            b.dims(),
            rows.sum.dims()
        );
    }
    let pair = (a.clone(), b.clone());
    rows.held += a.len() + b.len();
    rows.pairs.push(pair);
    if rows.held > FLUSH_AT {
        rows.multiply()?;
    }
    drop(rows);
    ctx.forward(0, 0)
}

fn finish_sum(ctx: &mut KernelCtx) -> Result<()> {
    let collector = collector(ctx.input(0)?)?;
    let mut rows = collector.0.lock().unwrap_or_else(|e| e.into_inner());
    rows.multiply()?;
    let empty = Tensor::zeros(DType::Float, &[0])?;
    let sum = std::mem::replace(&mut rows.sum, empty);
    drop(rows);
    ctx.set(0, sum)
}
