//! SQS: queues in memory, and the event source mappings that feed functions from them.

mod api;
mod mapping;
mod queue;

pub(crate) use self::{
    api::serve,
    mapping::{Mapping, run as run_mapping},
    queue::Queues,
};
