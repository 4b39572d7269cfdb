//! Loops and conditionals of graphs: `cond`, `case`, `while_loop`, and the contexts that route what their bodies use
//! through Switch and Enter nodes.

mod assert;
mod capture;
mod case;
mod cond;
mod context;
mod dependencies;
mod map_order;
mod message;
mod nest;
pub(crate) mod primitive;
mod recover;
mod regions;
mod while_loop;

pub(crate) use capture::add_value;
pub use case::Branch;
pub(crate) use context::{
    Backprop, Kind, WhileData, backprop, containing_while, enter, exit, exit_result, is_constant_enter, is_exit, is_loop_switch,
    is_switch, is_while, new_context, outer, output_context, outside, while_context_of, with, with_while, within,
};
pub use nest::{Leaf, Nest};
pub(crate) use recover::recover;
pub use while_loop::WhileOptions;
