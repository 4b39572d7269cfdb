//! A conditional of several branches (`tf.case`).

use super::nest::Nest;
use crate::error::{Result, bail};
use crate::graph::{Graph, Operation, Output};
use crate::ops::convert::Arg;
use crate::tensor::DType;

/// Makes the nodes of one branch.
pub type Branch<'a, R> = Box<dyn FnOnce(&Graph) -> Result<R> + 'a>;

impl Graph {
    /// What the first branch returns whose predicate is true, or else the default (`tf.case`). Where the branches are
    /// exclusive, more than one true predicate is an error at run time.
    ///
    /// # Errors
    /// `InvalidArgument` if there are no predicates, or the branches return different structures or dtypes.
    pub fn case<R: Nest>(&self, branches: Vec<(Output, Branch<R>)>, default: Branch<R>, exclusive: bool) -> Result<R> {
        if branches.is_empty() {
            bail!(InvalidArgument, "case needs at least one predicate");
        }
        let (g, _scope) = self.enter("case")?;
        let predicates: Vec<Output> = branches.iter().map(|(p, _)| *p).collect();
        let mut rest = branches.into_iter();
        if !exclusive {
            return nested(&g, &mut rest, default);
        }
        let assert = at_most_one(&g, &predicates)?;
        let _after = g.control_dependencies(&[assert])?;
        nested(&g, &mut rest, default)
    }
}

fn nested<'a, R: Nest>(g: &Graph, rest: &mut dyn Iterator<Item = (Output, Branch<'a, R>)>, default: Branch<'a, R>) -> Result<R> {
    match rest.next() {
        Some((predicate, branch)) => g.cond(predicate, branch, |g| nested(g, rest, default)),
        None => default(g),
    }
}

/// An assertion that at most one of the predicates is true.
fn at_most_one(g: &Graph, predicates: &[Output]) -> Result<Operation> {
    let stacked = g.named("preds_c").stack(predicates, 0)?;
    let numbers = g.cast(stacked, DType::Int32)?;
    let count = g.named("num_true_conds").reduce_sum(numbers, None, false)?;
    let limit = g.named("n_true_conds").constant(1i32)?;
    let condition = g.less_equal(count, limit)?;
    let names: Vec<String> = predicates.iter().map(|&p| g.tensor_name(p)).collect();
    let message = format!("Input error: exclusive=True: more than 1 conditions ({}) evaluated as True:", names.join(", "));
    g.assert(condition, &[Arg::from(message.as_str()), stacked.into()], Some(predicates.len() as i64))
}
