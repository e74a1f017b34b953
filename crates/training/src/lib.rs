//! From a dataset version to a model version that may be deployed.
//!
//! 1. [`put_definition`]: `models/<name>/` says how the model is trained; the definition and its code archive go into the lake.
//! 2. [`launch`]: a dataset version becomes a **training view** (`view`), each variant's job is **ordered** and created.
//! 3. [`advance`]: a finished job becomes a registered [`domain::ModelVersion`] with its whole lineage, goes through the **gate**
//!    ([`judge`]), and is offered or refused.
//! 4. [`approve`], [`deploy`], [`next_release`]: an approved version serves; the release's ramp gives it traffic by evidence.
//!
//! **The law**: each step can be repeated at any time by anybody, after a death at any point, on events that come twice, late, out
//! of order or never ([`reconcile`] looks after what nobody told of). One input is one paid job: a job's name follows from all that
//! it is made of, and SageMaker takes a name once.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

mod advance;
mod code;
mod definition;
mod deploy;
mod error;
mod gate;
mod held_out;
mod launch;
mod objects;
mod order;
mod plan;
mod raw_rows;
mod register;
mod registry;
mod view;

pub use advance::{
    APPROVER, EVENT_SOURCE, MODEL_OFFERED, MODEL_REFUSED, Means, Stage, TRAINING_FAILED, advance, reconcile,
};
pub use code::{CodeArchive, MAX_CODE_BYTES, is_code};
pub use definition::{TrainingDefinition, compile, put_definition, read_definition};
pub use deploy::{DeployAs, Deployment, deploy, next_release, variant_name};
pub use error::TrainingError;
pub use gate::{Gate, GateCheck, GateRun, GateVerdict, Reference, champion, judge, read_verdict, read_version};
pub use held_out::{HeldOutRow, PredictionJob, features_of, read_held_out};
pub use launch::{Launched, launch, order_of_job, read_order};
pub use order::{JobPlace, TrainingOrder};
pub use plan::{ChannelFormat, CodePlan, GatePlan, SplitPlan, SpotPlan, TrainingPlan, VpcPlan};
pub use register::{Failure, RegisterStore, Settled, settle};
pub use registry::{
    Approval, KnownVersion, Retirement, VersionState, approve, in_force, known_version, list_versions, resolve_version,
    retire,
};
pub use view::{ChannelRows, HELD_OUT, Split, TRAIN, VALIDATION, ViewPlan, ViewSummary, make_view};
