//! The ports, and their AWS adapters.
//!
//! A port is one verb that a function needs of the outside world: get, put, delete or list objects, invoke an
//! endpoint, train a model, tell an event. Handlers are free functions over ports, so that they are tested without AWS ([`memory::MemoryStore`]);
//! `main.rs` builds the adapters once ([`aws`], [`s3::S3Bucket`], [`sagemaker::SageMakerRuntime`],
//! [`sagemaker_control::SageMakerControl`]).
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

pub mod aws;
pub mod config;
pub mod emf;
pub mod endpoint;
pub mod events;
pub mod http;
mod json_service;
pub mod logs;
pub mod memory;
pub mod object_store;
pub mod release_cache;
pub mod s3;
pub mod s3_event;
pub mod sagemaker;
pub mod sagemaker_control;
mod sagemaker_endpoint;
