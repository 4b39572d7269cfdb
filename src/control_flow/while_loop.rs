//! Loops (`tf.while_loop`, version 1).

use super::capture;
use super::context::{self, Kind, WhileData, control_pivot, is_constant_enter, outer, with, with_while};
use super::message::ContextObject;
use super::nest::{Leaf, Nest};
use super::primitive::{self, EnterOptions};
use crate::error::{Result, bail};
use crate::graph::{CollectionItem, ContextId, Graph, Output};
use crate::ops::convert::Arg;
use crate::tensor::Shape;
use std::sync::Arc;

/// The collection of the loops that stand in no other.
pub(super) const COLLECTION: &str = "while_context";

/// What `while_loop` can be told beside condition and body.
#[derive(Clone, Debug)]
pub struct WhileOptions {
    /// The static shapes that the loop variables keep, one for each tensor; their first shapes if not given.
    pub shape_invariants: Option<Vec<Shape>>,
    /// How many iterations TensorFlow may run at once; it is stored.
    pub parallel_iterations: i64,
    /// Whether gradients are taken through the loop.
    pub back_prop: bool,
    /// Whether TensorFlow may move kept values from GPU to CPU; it is stored.
    pub swap_memory: bool,
    /// The loop ends after this many iterations at the latest.
    pub maximum_iterations: Option<Arg>,
}

impl Default for WhileOptions {
    fn default() -> WhileOptions {
        WhileOptions {
            shape_invariants: None,
            parallel_iterations: 10,
            back_prop: true,
            swap_memory: false,
            maximum_iterations: None,
        }
    }
}

type Condition<'a> = Box<dyn FnOnce(&Graph, &[Leaf]) -> Result<Output> + 'a>;
type Body<'a> = Box<dyn FnOnce(&Graph, Vec<Leaf>) -> Result<Vec<Leaf>> + 'a>;

impl Graph {
    /// Runs `body` on the loop variables as long as `condition` holds, and returns their last values (`tf.while_loop`).
    ///
    /// ```
    /// # use metagraph::{Graph, Session};
    /// let g = Graph::new();
    /// let (zero, one) = (g.constant(0i32)?, g.constant(1i32)?);
    /// let (_, power) = g.while_loop(
    ///     |g, (i, _)| g.less(*i, 10i32),
    ///     |g, (i, power)| Ok((g.add(i, 1i32)?, g.mul(power, 2i32)?)),
    ///     (zero, one),
    ///     &Default::default(),
    /// )?;
    /// assert_eq!(g.tensor_name(power), "while/Exit_1:0");
    /// assert_eq!(Session::new(&g).run(&[power], &[])?[0].to_string(), "i32 1024");
    /// # Ok::<(), metagraph::Error>(())
    /// ```
    ///
    /// # Errors
    /// `InvalidArgument` if there are no loop variables, the body returns another structure, or the shape of a loop
    /// variable changes without an invariant that allows it; what condition and body return.
    pub fn while_loop<V: Nest>(
        &self,
        condition: impl FnOnce(&Graph, &V) -> Result<Output>,
        body: impl FnOnce(&Graph, V) -> Result<V>,
        loop_vars: V,
        options: &WhileOptions,
    ) -> Result<V> {
        let (g, _scope) = self.enter("while")?;
        let variables = loop_vars.flatten();
        if variables.is_empty() {
            bail!(InvalidArgument, "'loop_vars' must be provided.");
        }
        let mut result = None;
        let template = &loop_vars;
        let condition: Condition = Box::new(move |g, leaves| condition(g, &template.rebuild(&mut leaves.iter().cloned())?));
        let body: Body = Box::new(|g, leaves| {
            let returned = body(g, template.rebuild(&mut leaves.into_iter())?)?;
            let leaves = returned.flatten();
            result = Some(returned);
            Ok(leaves)
        });
        let exits = match &options.maximum_iterations {
            None => build(&g, condition, body, &variables, options, None)?,
            Some(maximum) => build_limited(&g, condition, body, &variables, options, maximum)?,
        };
        match result {
            Some(returned) => returned.rebuild(&mut exits.into_iter()),
            None => bail!(Internal, "the body of a loop was not built"),
        }
    }
}

/// The loop with a counter beside its variables.
fn build_limited(
    g: &Graph,
    condition: Condition,
    body: Body,
    variables: &[Leaf],
    options: &WhileOptions,
    maximum: &Arg,
) -> Result<Vec<Leaf>> {
    let maximum = g.convert_to_tensor(maximum.clone(), None, "maximum_iterations")?;
    let shape = g.shape(maximum)?;
    if shape.rank().is_some_and(|r| r > 0) {
        bail!(InvalidArgument, "'maximum_iterations' must be a scalar. Received shape: {shape}");
    }
    let counter = g.convert_to_tensor(0i32, Some(g.dtype(maximum)?), "iteration_counter")?;
    let mut all = vec![Leaf::Tensor(counter)];
    all.extend_from_slice(variables);
    let condition: Condition = Box::new(move |g, leaves| {
        let counter = leaves[0].tensor().unwrap_or(counter);
        let below = g.op("Less").input(counter).input(maximum).output()?;
        let goes_on = condition(g, &leaves[1..])?;
        g.op("LogicalAnd").input(below).input(goes_on).output()
    });
    let body: Body = Box::new(move |g, mut leaves| {
        let counter = leaves.remove(0).tensor().unwrap_or(counter);
        let next = g.operator("add", "AddV2", counter, 1i32)?;
        let mut results = vec![Leaf::Tensor(next)];
        results.extend(body(g, leaves)?);
        Ok(results)
    });
    let mut options = options.clone();
    if let Some(invariants) = &mut options.shape_invariants {
        invariants.insert(0, Shape::scalar());
    }
    let mut exits = build(g, condition, body, &all, &options, Some(maximum))?;
    exits.remove(0);
    Ok(exits)
}

fn build(
    g: &Graph,
    condition: Condition,
    body: Body,
    variables: &[Leaf],
    options: &WhileOptions,
    maximum: Option<Output>,
) -> Result<Vec<Leaf>> {
    if options.parallel_iterations < 1 {
        bail!(InvalidArgument, "'parallel_iterations' must be a positive integer: {}", options.parallel_iterations);
    }
    let mut data = WhileData::new(options.parallel_iterations, options.back_prop, options.swap_memory);
    data.maximum_iterations = maximum;
    let id = context::new_context(g, g.unique_name("while_context"), Kind::While(Box::new(data)));
    if outer(g, id).is_none() {
        g.add_to_collection(COLLECTION, CollectionItem::Object(Arc::new(ContextObject(id))));
    }
    context::enter(g, id);
    let built = build_within(g, id, condition, body, variables, options.shape_invariants.as_deref());
    context::exit(g, id);
    let (returned, exits) = built?;
    returned.iter().zip(exits).map(|(leaf, exit)| leaf.with_tensor(g, exit)).collect()
}

/// The nodes of the loop. Returns what the body returned, and the exits.
fn build_within(
    g: &Graph,
    id: ContextId,
    condition: Condition,
    body: Body,
    variables: &[Leaf],
    invariants: Option<&[Shape]>,
) -> Result<(Vec<Leaf>, Vec<Output>)> {
    let Some(tensors) = variables.iter().map(Leaf::tensor).collect::<Option<Vec<Output>>>() else {
        bail!(InvalidArgument, "an operation can't be a loop variable")
    };
    let enters = enter_variables(g, id, &tensors, invariants)?;
    let mut merges = Vec::with_capacity(enters.len());
    for &enter in &enters {
        merges.push(primitive::merge(g, &[enter, enter], None)?[0]);
    }
    with_while(g, id, |w| {
        w.loop_enters = enters;
        w.pivot_for_pred = Some(merges[0]);
    });

    let goes_on = condition(g, &with_tensors(g, variables, &merges)?)?;
    let pivot = g.op("LoopCond").input(goes_on).output()?;
    with_while(g, id, |w| w.pivot = Some(pivot));
    let mut switches = Vec::with_capacity(merges.len());
    for &merge in &merges {
        switches.push(primitive::switch_ref_or_tensor(g, merge, pivot, "Switch")?);
    }

    let mut inside = Vec::with_capacity(merges.len());
    for switch in &switches {
        inside.push(primitive::identity_ref(g, switch[1])?);
    }
    with_while(g, id, |w| w.pivot_for_body = Some(inside[0]));
    let returned = body(g, with_tensors(g, variables, &inside)?)?;
    check_structure(variables, &returned)?;
    for (&merge, leaf) in merges.iter().zip(&returned) {
        let Some(next) = leaf.tensor() else { bail!(InvalidArgument, "an operation can't be a loop variable") };
        primitive::add_back_edge(g, merge, next, true)?;
    }

    let mut exits = Vec::with_capacity(switches.len());
    for switch in &switches {
        exits.push(primitive::exit(g, switch[0], None)?);
    }
    with_while(g, id, |w| w.loop_exits = exits.clone());
    context::exit_result(g, id, &exits);
    Ok((returned, exits))
}

fn enter_variables(g: &Graph, id: ContextId, tensors: &[Output], invariants: Option<&[Shape]>) -> Result<Vec<Output>> {
    if let Some(invariants) = invariants
        && invariants.len() != tensors.len()
    {
        bail!(InvalidArgument, "{} shape invariants were given for {} loop variables", invariants.len(), tensors.len());
    }
    with(g, id, |c| c.values = tensors.iter().copied().collect());
    let around = outer(g, id);
    let mut real = tensors.to_vec();
    if let Some(around) = around {
        for tensor in &mut real {
            *tensor = capture::add_value(g, around, *tensor)?;
        }
    }
    let (frame_name, parallel_iterations) = capture::loop_attributes(g, id);
    let options =
        EnterOptions { frame_name: &frame_name, is_constant: false, parallel_iterations, use_input_shape: false, name: None };
    let mut enters = Vec::with_capacity(real.len());
    {
        let _none = g.cleared_control_dependencies();
        for (index, &tensor) in real.iter().enumerate() {
            let entered = primitive::enter(g, tensor, &options)?;
            let shape = g.shape(tensor)?;
            let invariant = match invariants {
                Some(invariants) => invariants[index].clone(),
                None => g.shape(tensors[index])?,
            };
            if !primitive::less_than_or_equal(&shape, &invariant) {
                bail!(
                    InvalidArgument,
                    "The shape invariant specified for {} is not compatible with the initial shape of the loop variable. It \
                     enters the loop with shape {shape}, but the specified shape invariant is {invariant}.",
                    g.tensor_name(tensor)
                );
            }
            g.set_shape(entered, invariant)?;
            g.prevent_feeding(entered.op)?;
            enters.push(entered);
        }
    }
    // A loop within another starts in each iteration of that, also where its variables are the same in each.
    let mut at = around;
    let mut pivot = None;
    while let (Some(context), None) = (at, pivot) {
        pivot = control_pivot(g, context);
        at = outer(g, context);
    }
    if let Some(pivot) = pivot {
        for &entered in &enters {
            if is_constant_enter(g, g.input(entered.op, 0)?.op) {
                g.add_control_inputs(entered.op, &[pivot.op])?;
            }
        }
    }
    capture::fix_enters(g, id, &enters)?;
    with(g, id, |c| c.values = enters.iter().copied().collect());
    Ok(enters)
}

fn with_tensors(g: &Graph, leaves: &[Leaf], tensors: &[Output]) -> Result<Vec<Leaf>> {
    leaves.iter().zip(tensors).map(|(leaf, &tensor)| leaf.with_tensor(g, tensor)).collect()
}

fn check_structure(before: &[Leaf], after: &[Leaf]) -> Result<()> {
    if before.len() != after.len() {
        bail!(
            InvalidArgument,
            "Number of inputs and outputs of 'body' must match 'loop_vars'. Got {} for the number of inputs/outputs, and {} \
             for 'loop_vars'.",
            after.len(),
            before.len()
        );
    }
    for (index, (before, after)) in before.iter().zip(after).enumerate() {
        if std::mem::discriminant(before) != std::mem::discriminant(after) {
            bail!(
                InvalidArgument,
                "The two structures don't have the same nested structure: loop variable {index} is {before:?} before and \
                 {after:?} after an iteration"
            );
        }
    }
    Ok(())
}
