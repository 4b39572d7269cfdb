//! Adding up the gradients that meet at one tensor.

use super::AggregationMethod;
use crate::error::Result;
use crate::graph::{Gradient, Graph, IndexedSlices, Operation, Output};
use crate::ops::Idx;
use crate::ops::array::densify;
use crate::tensor::DType;
use std::collections::BTreeMap;

/// The sum of the gradients of one output of `op`.
pub(super) fn aggregate(
    g: &Graph,
    op: Operation,
    gradients: &[Option<Gradient>],
    method: AggregationMethod,
) -> Result<Option<Gradient>> {
    if let [] | [_] = gradients {
        return Ok(gradients.first().copied().flatten());
    }
    let present: Vec<Gradient> = gradients.iter().copied().flatten().collect();
    let dense: Option<Vec<Output>> = present.iter().map(|g| g.dense()).collect();
    let Some(dense) = dense else { return aggregate_slices(g, &present) };
    let sum = match method {
        AggregationMethod::AddN => add_by_device(g, &dense)?,
        AggregationMethod::Tree => {
            let _scope = g.name_scope(&format!("{}_gradient_sum", g.op_name(op)))?;
            let mut sum = dense[0];
            for &next in &dense[1..] {
                sum = add_n(g, &[sum, next])?;
            }
            sum
        }
    };
    Ok(Some(sum.into()))
}

fn add_n(g: &Graph, terms: &[Output]) -> Result<Output> {
    match terms {
        [only] => Ok(*only),
        _ => g.op("AddN").input_list(terms).output(),
    }
}

/// Terms of one device are added up there first.
fn add_by_device(g: &Graph, terms: &[Output]) -> Result<Output> {
    let mut by_device: BTreeMap<String, Vec<Output>> = BTreeMap::new();
    for &term in terms {
        by_device.entry(g.op_device(term.op)).or_default().push(term);
    }
    let mut sums = Vec::with_capacity(by_device.len());
    for terms in by_device.values() {
        let _beside = g.colocate_only_with(Some(terms[0].op))?;
        sums.push(add_n(g, terms)?);
    }
    add_n(g, &sums)
}

/// Rows of gathered tensors are put one behind the other; with a dense term, all becomes dense.
fn aggregate_slices(g: &Graph, terms: &[Gradient]) -> Result<Option<Gradient>> {
    if terms.iter().any(|t| t.dense().is_some()) {
        let scope = g.name_scope("AddN")?;
        let mut dense = Vec::with_capacity(terms.len());
        for (index, term) in terms.iter().enumerate() {
            dense.push(match term {
                Gradient::Dense(output) => *output,
                Gradient::Sparse(slices) => densify(&g.named(&format!("inputs_{index}")), slices)?,
            });
        }
        return Ok(Some(g.op("AddN").name(scope.name()).input_list(&dense).output()?.into()));
    }
    let mut slices: Vec<IndexedSlices> =
        terms.iter().filter_map(|t| if let Gradient::Sparse(s) = t { Some(*s) } else { None }).collect();
    unify_indices(g, &mut slices)?;
    let values: Vec<_> = slices.iter().map(|s| s.values.into()).collect();
    let indices: Vec<_> = slices.iter().map(|s| s.indices.into()).collect();
    let values = g.concat(&values, 0i32)?;
    let indices = g.concat(&indices, 0i32)?;
    Ok(Some(Gradient::Sparse(IndexedSlices { values, indices, dense_shape: slices[0].dense_shape })))
}

/// Where some indices are int32 and others int64, makes all int64.
fn unify_indices(g: &Graph, slices: &mut [IndexedSlices]) -> Result<()> {
    let narrow = |s: &IndexedSlices| Ok(g.dtype(s.indices)? == DType::Int32);
    let narrow: Vec<bool> = slices.iter().map(narrow).collect::<Result<_>>()?;
    if narrow.iter().all(|&n| n) {
        return Ok(());
    }
    for (slices, _) in slices.iter_mut().zip(narrow).filter(|(_, narrow)| *narrow) {
        slices.indices = g.op("Cast").input(slices.indices).attr("DstT", DType::Int64).output()?;
    }
    Ok(())
}

/// A tensor as all of its rows.
pub(super) fn as_slices(g: &Graph, gradient: Gradient, optimize: bool) -> Result<IndexedSlices> {
    match gradient {
        Gradient::Sparse(slices) => Ok(slices),
        Gradient::Dense(values) => {
            let shape = g.shape_internal(values, None, optimize)?;
            let rows = g.index(shape, &[Idx::from(0)])?;
            let indices = g.call("Range").default_name("range").arg(0i32).arg(rows).arg(1i32).output()?;
            Ok(IndexedSlices { values, indices, dense_shape: Some(shape) })
        }
    }
}

/// All as rows, with indices of one dtype.
pub(super) fn as_slices_list(g: &Graph, gradients: &[Gradient], optimize: bool) -> Result<Vec<IndexedSlices>> {
    let mut slices = gradients.iter().map(|&x| as_slices(g, x, optimize)).collect::<Result<Vec<_>>>()?;
    unify_indices(g, &mut slices)?;
    Ok(slices)
}
