//! Assertions at run time.

use crate::error::Result;
use crate::graph::{Graph, Operation, Output};
use crate::ops::convert::Arg;
use crate::tensor::DType;

/// How many elements of each tensor a failed assertion prints, unless said otherwise.
const SUMMARIZE: i64 = 3;

impl Graph {
    /// An operation that fails with `InvalidArgument` and the values of `data` where the condition is false (`tf.Assert`).
    /// Strings and int32 tensors are passed on as they are; with others, the op stands in a conditional.
    ///
    /// # Errors
    /// `InvalidArgument` for a condition that is no bool.
    pub fn assert(&self, condition: Output, data: &[Arg], summarize: Option<i64>) -> Result<Operation> {
        let (g, _scope) = self.enter("Assert")?;
        let summarize = summarize.unwrap_or(SUMMARIZE);
        let mut simple = true;
        for item in data {
            let tensor = g.convert_to_tensor(item.clone(), None, "Const")?;
            simple &= matches!(g.dtype(tensor)?, DType::String | DType::Int32);
        }
        let assert = |g: &Graph| {
            let call = g.named("Assert").call("Assert").arg(condition).list(data.iter().cloned());
            call.attr("summarize", summarize).finish()
        };
        if simple {
            return assert(&g);
        }
        let guarded = g.named("AssertGuard").cond(condition, |g| g.no_op(), assert)?;
        Ok(guarded)
    }
}
