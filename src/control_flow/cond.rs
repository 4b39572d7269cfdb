//! Conditionals (`tf.cond`, version 1).

use super::context::{self, Kind, outer, with};
use super::message::ContextObject;
use super::nest::{Leaf, Nest};
use super::{capture, primitive};
use crate::error::{Result, bail};
use crate::graph::{CollectionItem, ContextId, Graph, Output};
use std::sync::Arc;

/// The collection of the conditionals that stand in no other context, one entry a branch.
pub(super) const COLLECTION: &str = "cond_context";

impl Graph {
    /// What `true_fn` returns where `pred` is true, and otherwise what `false_fn` returns (`tf.cond`). Nodes that a branch
    /// makes run only where it is taken; those that it only uses run in any case.
    ///
    /// ```
    /// # use metagraph::{Graph, Session, Tensor};
    /// let g = Graph::new();
    /// let (x, y) = (g.named("x").constant(2i32)?, g.named("y").constant(5i32)?);
    /// let less = g.less(x, y)?;
    /// let r = g.cond(less, |g| g.mul(x, 17i32), |g| g.add(y, 23i32))?;
    /// assert_eq!(g.tensor_name(r), "cond/Merge:0");
    /// assert_eq!(Session::new(&g).run(&[r], &[])?[0].to_string(), "i32 34");
    /// # Ok::<(), metagraph::Error>(())
    /// ```
    ///
    /// # Errors
    /// `InvalidArgument` if the branches return different structures or dtypes, or nothing; what they return.
    pub fn cond<R: Nest>(
        &self,
        pred: Output,
        true_fn: impl FnOnce(&Graph) -> Result<R>,
        false_fn: impl FnOnce(&Graph) -> Result<R>,
    ) -> Result<R> {
        let (g, _scope) = self.enter("cond")?;
        let [when_false, when_true] = primitive::switch(&g, pred, pred)?;
        let pivot_true = primitive::identity(&g.named("switch_t"), when_true)?;
        let pivot_false = primitive::identity(&g.named("switch_f"), when_false)?;
        let pred = primitive::identity(&g.named("pred_id"), pred)?;
        for op in [when_true.op, pivot_true.op, pivot_false.op, pred.op] {
            g.prevent_fetching(op)?;
        }

        let (id_true, original, results_true) = branch(&g, pred, pivot_true, 1, true_fn)?;
        let (id_false, original_false, results_false) = branch(&g, pred, pivot_false, 0, false_fn)?;
        let leaves = original.flatten();
        let same = |(a, b): (&Leaf, &Leaf)| std::mem::discriminant(a) == std::mem::discriminant(b);
        if leaves.len() != results_false.len() || !leaves.iter().zip(&original_false.flatten()).all(same) {
            bail!(
                InvalidArgument,
                "Incompatible return values of 'true_fn' and 'false_fn': the two structures have {} and {} elements",
                leaves.len(),
                results_false.len()
            );
        }
        if leaves.is_empty() {
            bail!(InvalidArgument, "'true_fn' and 'false_fn' must return at least one result.");
        }
        for (&t, &f) in results_true.iter().zip(&results_false) {
            let (from_true, from_false) = (g.dtype(t)?, g.dtype(f)?);
            if from_true != from_false {
                bail!(
                    InvalidArgument,
                    "Outputs of 'true_fn' and 'false_fn' must have the same type(s). Received {from_true} from 'true_fn' and \
                     {from_false} from 'false_fn'."
                );
            }
        }
        let mut merges = Vec::with_capacity(leaves.len());
        for (&t, &f) in results_true.iter().zip(&results_false) {
            merges.push(primitive::merge(&g, &[f, t], None)?[0]);
        }
        let merged: Vec<Leaf> =
            leaves.iter().zip(merges).map(|(leaf, merge)| leaf.with_tensor(&g, merge)).collect::<Result<_>>()?;
        if outer(&g, id_true).is_none() {
            for id in [id_true, id_false] {
                g.add_to_collection(COLLECTION, CollectionItem::Object(Arc::new(ContextObject(id))));
            }
        }
        original.rebuild(&mut merged.into_iter())
    }
}

/// Makes the context of a branch.
pub(super) fn new_branch(g: &Graph, name: String, pred: Output, pivot: Output, branch: usize) -> Result<ContextId> {
    let id = context::new_context(g, name, Kind::Cond { pred, pivot, branch });
    with(g, id, |c| {
        c.values.extend([pred, pivot]);
        c.external.insert(pred, pred);
    });
    g.set_op_context(pivot.op, Some(id))?;
    Ok(id)
}

/// One branch: its context, what the function returned, and that as tensors of the branch.
fn branch<R: Nest>(
    g: &Graph,
    pred: Output,
    pivot: Output,
    branch: usize,
    run: impl FnOnce(&Graph) -> Result<R>,
) -> Result<(ContextId, R, Vec<Output>)> {
    let id = new_branch(g, g.unique_name("cond_text"), pred, pivot, branch)?;
    context::enter(g, id);
    let built = run(g).and_then(|original| {
        let mut results = Vec::new();
        for leaf in original.flatten() {
            results.push(match leaf {
                Leaf::Operation(op) => g.with_dependencies(&[op], pivot)?,
                Leaf::Tensor(tensor) => output_of_branch(g, id, tensor, pred, branch)?,
                Leaf::Array(array) => output_of_branch(g, id, array.flow(), pred, branch)?,
            });
        }
        context::exit_result(g, id, &results);
        Ok((id, original, results))
    });
    context::exit(g, id);
    built
}

/// A result of a branch; one from outside is switched, so that it lives where the branch is taken.
fn output_of_branch(g: &Graph, id: ContextId, value: Output, pred: Output, branch: usize) -> Result<Output> {
    let (seen, external, around) = with(g, id, |c| (c.values.contains(&value), c.external.get(&value).copied(), c.outer));
    if seen {
        return Ok(external.unwrap_or(value));
    }
    with(g, id, |c| c.values.insert(value));
    let mut real = value;
    if let Some(around) = around {
        real = capture::add_value(g, around, value)?;
        with(g, id, |c| {
            c.values.insert(real);
            c.external.insert(real, real);
        });
    }
    real = primitive::switch_ref_or_tensor(g, real, pred, "Switch")?[branch];
    with(g, id, |c| c.external.insert(value, real));
    Ok(real)
}
