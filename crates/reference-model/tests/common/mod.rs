//! A synthetic data set, and SageMaker's folders around it.
// Each test file uses a part of it.
#![allow(dead_code)]

use std::{fmt::Write as _, fs, path::Path};

use reference_model::{Folders, Metadata, ModelError, train};
use serde_json::{Value, json};
use tempfile::TempDir;

/// How many features a row has.
pub(crate) const FEATURES: usize = 8;

/// Equally distributed numbers in [0, 1): Knuth's linear congruential generator, so that a data set is the same everywhere.
pub(crate) struct Uniform(pub(crate) u64);

impl Iterator for Uniform {
    type Item = f64;

    fn next(&mut self) -> Option<f64> {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        Some((self.0 >> 11) as f64 / (1_u64 << 53) as f64)
    }
}

/// Rows of a duration-like label that depends on five features; one feature is often missing, one constant, one missing
/// throughout.
pub(crate) fn csv(seed: u64, rows: usize) -> String {
    let mut uniform = Uniform(seed);
    let mut text = String::new();
    for _ in 0..rows {
        let [distance, hour, rain, noise, unused, gap] = [(); 6].map(|()| uniform.next().unwrap());
        let busy = if (0.3..0.4).contains(&hour) || (0.7..0.8).contains(&hour) { 1.5 } else { 1.0 };
        let known = gap < 0.7;
        let label = 120.0 + 1200.0 * distance * busy + 200.0 * rain * distance + if known { 0.0 } else { 300.0 };
        let gap = if known { gap.to_string() } else { String::new() };
        writeln!(text, "{},{distance},{hour},{rain},{unused},{gap},1.0,,{}", label + 60.0 * noise, busy * 2.0).unwrap();
    }
    text
}

/// SageMaker's folders, with hyperparameters and some channels.
pub(crate) struct Job {
    pub(crate) base: TempDir,
    pub(crate) folders: Folders,
}

impl Job {
    pub(crate) fn new(hyperparameters: &Value, channels: &[(&str, &str)]) -> Self {
        let base = tempfile::tempdir().unwrap();
        let folders = Folders::new(base.path());
        write(&folders.hyperparameters(), hyperparameters.to_string().as_bytes());
        for (channel, text) in channels {
            write(&folders.channel(channel).join("data.csv"), text.as_bytes());
        }
        Self { base, folders }
    }

    /// A small job that trains well.
    pub(crate) fn small() -> Self {
        let hyperparameters = json!({"num_round": "20", "eta": "0.3", "max_depth": "4"});
        Self::new(&hyperparameters, &[("train", &csv(1, 1_000)), ("validation", &csv(2, 300))])
    }

    /// Trains; what it came to, and what it printed.
    pub(crate) fn train(&self) -> (Result<Metadata, ModelError>, String) {
        let mut log = Vec::new();
        let trained = train(&self.folders, &mut log);
        (trained, String::from_utf8(log).unwrap())
    }

    /// The two files of the model.
    pub(crate) fn model_files(&self) -> [Vec<u8>; 2] {
        ["model.json", "metadata.json"].map(|name| fs::read(self.folders.model().join(name)).unwrap())
    }
}

fn write(path: &Path, bytes: &[u8]) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}
