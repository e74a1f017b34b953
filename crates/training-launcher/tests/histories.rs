//! Training events that come twice, late, out of order or never, functions that die at any call, services that throttle and whose
//! answers are lost: by seed. One input is one paid job, every finished model is registered and judged, and every failure is told.
//!
//! `HISTORIES=10000 cargo test --release -p training-launcher --test histories` runs more of them; `SEED=7` one again.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    ops::Range,
    sync::{Arc, Mutex},
};

use async_trait::async_trait;
use bytes::Bytes;
use cloud::{
    events::MemoryBus,
    memory::MemoryStore,
    object_store::{
        ETag, GetObject, GetOutcome, GetRange, HeadObject, ListObjects, ListedObject, ObjectHead, PutCondition,
        PutObject, PutOutcome, RangeOutcome, StoreError,
    },
    sagemaker_control::{CallSageMaker, ControlError},
};
use rand::{Rng, SeedableRng, seq::SliceRandom};
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};
use support::{BUCKET, NoLogs, Prepared, model, now, pointer_event, prepared, put_in_use, schedule_event};
use training::{JobPlace, Means, TRAINING_FAILED, VersionState, list_versions};
use training_launcher::{Config, handle};

/// What can go wrong on purpose, to see that it is noticed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mutant {
    None,
    /// Nobody looks after orders whose events were lost.
    NoSchedule,
    /// SageMaker takes a job's name again.
    NamesTwice,
}

#[derive(Default)]
struct Counts {
    kinds: BTreeMap<&'static str, u64>,
}

impl Counts {
    fn add(&mut self, kind: &'static str) {
        *self.kinds.entry(kind).or_default() += 1;
    }
}

struct Job {
    request: Value,
    /// Ticks until it ends.
    left: u32,
    fails: bool,
    created: u32,
    ended: bool,
}

/// Everything outside of the functions.
struct World {
    random: ChaCha8Rng,
    store: MemoryStore,
    training: BTreeMap<String, Job>,
    /// Training jobs that will never be taken, such as by an image that is no image.
    never: BTreeSet<String>,
    transform: BTreeMap<String, Job>,
    models: BTreeSet<String>,
    packages: BTreeMap<String, String>,
    groups: BTreeSet<String>,
    /// Events under way: the tick of their delivery.
    events: Vec<(u32, Value)>,
    tick: u32,
    /// Faults are over.
    calm: bool,
    mutant: Mutant,
    counts: Counts,
}

/// One invocation: it dies at a call, or not.
#[derive(Clone)]
struct Outside {
    world: Arc<Mutex<World>>,
    /// Calls left until the process dies.
    life: Arc<Mutex<Option<u32>>>,
}

enum Fate {
    Good,
    Refused,
    /// It is carried out, and the answer is lost.
    Lost,
    Dead,
}

impl Outside {
    async fn fate(&self) -> Fate {
        // Another invocation may go on here.
        tokio::task::yield_now().await;
        let mut life = self.life.lock().unwrap();
        if let Some(left) = life.as_mut() {
            if *left == 0 {
                return Fate::Dead;
            }
            *left -= 1;
        }
        let mut world = self.world.lock().unwrap();
        if world.calm {
            return Fate::Good;
        }
        match world.random.random_range(0..200) {
            0 => {
                world.counts.add("refused call");
                Fate::Refused
            }
            1 => {
                world.counts.add("lost answer");
                Fate::Lost
            }
            _ => Fate::Good,
        }
    }

    fn unavailable(verb: &'static str, key: &str) -> StoreError {
        StoreError::Unavailable { verb, key: key.to_owned(), detail: "503".to_owned() }
    }

    fn store(&self) -> MemoryStore {
        self.world.lock().unwrap().store.clone()
    }
}

macro_rules! through {
    ($self:ident, $verb:literal, $key:expr, $call:expr) => {
        match $self.fate().await {
            Fate::Good => $call.await,
            Fate::Lost => {
                _ = $call.await;
                Err(Self::unavailable($verb, $key))
            }
            Fate::Refused | Fate::Dead => Err(Self::unavailable($verb, $key)),
        }
    };
}

#[async_trait]
impl GetObject for Outside {
    async fn get_object(&self, key: &str, if_none_match: Option<&ETag>) -> Result<GetOutcome, StoreError> {
        through!(self, "get", key, self.store().get_object(key, if_none_match))
    }
}

#[async_trait]
impl PutObject for Outside {
    async fn put_object(&self, key: &str, bytes: Bytes, condition: PutCondition) -> Result<PutOutcome, StoreError> {
        through!(self, "put", key, self.store().put_object(key, bytes.clone(), condition.clone()))
    }
}

#[async_trait]
impl HeadObject for Outside {
    async fn head_object(&self, key: &str) -> Result<Option<ObjectHead>, StoreError> {
        through!(self, "head", key, self.store().head_object(key))
    }
}

#[async_trait]
impl GetRange for Outside {
    async fn get_range(&self, key: &str, range: Range<u64>, if_match: &ETag) -> Result<RangeOutcome, StoreError> {
        through!(self, "get", key, self.store().get_range(key, range.clone(), if_match))
    }
}

#[async_trait]
impl ListObjects for Outside {
    async fn list_objects(&self, prefix: &str) -> Result<Vec<ListedObject>, StoreError> {
        through!(self, "list", prefix, self.store().list_objects(prefix))
    }
}

#[async_trait]
impl CallSageMaker for Outside {
    async fn call_sagemaker(&self, operation: &'static str, input: &Value) -> Result<Value, ControlError> {
        let fate = self.fate().await;
        let failed = || ControlError::Failed { operation, detail: "no answer".to_owned() };
        match fate {
            Fate::Dead => return Err(failed()),
            Fate::Refused => {
                let kind = "ThrottlingException".to_owned();
                return Err(ControlError::Refused { operation, kind, message: "slow down".to_owned() });
            }
            Fate::Good | Fate::Lost => {}
        }
        let answer = self.world.lock().unwrap().call(operation, input);
        if matches!(fate, Fate::Lost) { Err(failed()) } else { answer }
    }
}

impl World {
    fn call(&mut self, operation: &'static str, input: &Value) -> Result<Value, ControlError> {
        let refused =
            |kind: &str, message: String| Err(ControlError::Refused { operation, kind: kind.to_owned(), message });
        let text = |member: &str| input[member].as_str().unwrap_or_default().to_owned();
        match operation {
            "CreateTrainingJob" | "CreateTransformJob" => {
                let is_training = operation == "CreateTrainingJob";
                let name = text(if is_training { "TrainingJobName" } else { "TransformJobName" });
                if !is_training && !self.models.contains(&text("ModelName")) {
                    return refused("ValidationException", "Could not find model".to_owned());
                }
                let is_new = is_training && !self.training.contains_key(&name);
                if is_new && (self.never.contains(&name) || self.random.random_range(0..8) == 0) {
                    self.counts.add("job that is never taken");
                    self.never.insert(name);
                    return refused("ValidationException", "1 validation error detected".to_owned());
                }
                let left = self.random.random_range(1..6);
                let fails = is_training && self.random.random_range(0..10) == 0;
                let again = self.mutant == Mutant::NamesTwice;
                let jobs = if is_training { &mut self.training } else { &mut self.transform };
                match jobs.get_mut(&name) {
                    Some(job) if again => job.created += 1,
                    Some(_) => return refused("ResourceInUse", format!("{name} exists")),
                    None => {
                        let job = Job { request: input.clone(), left, fails, created: 1, ended: false };
                        jobs.insert(name, job);
                    }
                }
                Ok(json!({}))
            }
            "DescribeTrainingJob" => {
                let name = text("TrainingJobName");
                let Some(job) = self.training.get(&name) else {
                    return refused("ValidationException", "Requested resource not found.".to_owned());
                };
                let mut described = job.request.clone();
                described["TrainingJobStatus"] = match (job.ended, job.fails) {
                    (false, _) => "InProgress".into(),
                    (true, false) => "Completed".into(),
                    (true, true) => "Failed".into(),
                };
                described["FailureReason"] = "AlgorithmError".into();
                let output = job.request["OutputDataConfig"]["S3OutputPath"].as_str().unwrap();
                described["ModelArtifacts"] =
                    json!({"S3ModelArtifacts": format!("{output}{name}/output/model.tar.gz")});
                Ok(described)
            }
            "DescribeTransformJob" => {
                let Some(job) = self.transform.get(&text("TransformJobName")) else {
                    return refused("ValidationException", "Could not find it".to_owned());
                };
                Ok(json!({"TransformJobStatus": if job.ended { "Completed" } else { "InProgress" }}))
            }
            "CreateModel" => {
                let name = text("ModelName");
                if !self.models.insert(name.clone()) {
                    return refused("ValidationException", format!("Cannot create already existing model {name}"));
                }
                Ok(json!({}))
            }
            "CreateModelPackageGroup" => {
                if !self.groups.insert(text("ModelPackageGroupName")) {
                    return refused("ValidationException", "Model Package Group already exists".to_owned());
                }
                Ok(json!({}))
            }
            "CreateModelPackage" => {
                let number = self.packages.len() + 1;
                let arn = self.packages.entry(text("ClientToken")).or_insert_with(|| format!("arn:package/{number}"));
                Ok(json!({"ModelPackageArn": arn}))
            }
            other => panic!("{other} is not expected"),
        }
    }

    /// An event with everything that EventBridge and S3 may do to it. Events through a queue are never lost.
    fn tell(&mut self, event: &Value, may_be_lost: bool) {
        if may_be_lost && !self.calm && self.random.random_range(0..5) == 0 {
            self.counts.add("lost event");
            return;
        }
        let times = if self.random.random_range(0..5) == 0 { 2 } else { 1 };
        if times == 2 {
            self.counts.add("event twice");
        }
        for _ in 0..times {
            let late = if self.random.random_range(0..4) == 0 { self.random.random_range(1..12) } else { 0 };
            if late > 0 {
                self.counts.add("late event");
            }
            self.events.push((self.tick + late, event.clone()));
        }
    }

    /// Jobs go on; those that end leave what they make, and say so.
    async fn pass(world: &Arc<Mutex<Self>>) {
        let (store, ended) = {
            let mut world = world.lock().unwrap();
            world.tick += 1;
            let mut ended = Vec::new();
            for (kind, jobs) in [("training", 0), ("transform", 1)] {
                let jobs = if jobs == 0 { &mut world.training } else { &mut world.transform };
                for (name, job) in jobs.iter_mut().filter(|(_, job)| !job.ended) {
                    job.left = job.left.saturating_sub(1);
                    if job.left == 0 {
                        job.ended = true;
                        ended.push((kind, name.clone(), job.request.clone(), job.fails));
                    }
                }
            }
            (world.store.clone(), ended)
        };
        for (kind, name, request, fails) in ended {
            let strip = |uri: &str| uri.strip_prefix(&format!("s3://{BUCKET}/")).unwrap().to_owned();
            let event = if kind == "training" {
                if !fails {
                    let output = strip(request["OutputDataConfig"]["S3OutputPath"].as_str().unwrap());
                    let key = format!("{output}{name}/output/model.tar.gz");
                    store.put_object(&key, Bytes::from(name.clone()), PutCondition::Always).await.unwrap();
                }
                let status = if fails { "Failed" } else { "Completed" };
                json!({
                    "detail-type": "SageMaker Training Job State Change", "source": "aws.sagemaker",
                    "detail": {"TrainingJobName": name, "TrainingJobStatus": status},
                })
            } else {
                let input = request["TransformInput"]["DataSource"]["S3DataSource"]["S3Uri"].as_str().unwrap();
                let output = request["TransformOutput"]["S3OutputPath"].as_str().unwrap();
                for file in store.list_objects(&strip(input)).await.unwrap() {
                    let object = store.get_object(&file.key, None).await.unwrap().found().unwrap();
                    let lines = String::from_utf8(object.bytes.to_vec()).unwrap();
                    // twice = 2 × distance; the ride takes 3 × distance.
                    let mut answers = String::new();
                    for line in lines.lines() {
                        writeln!(answers, "{}", line.parse::<f64>().unwrap() * 1.5).unwrap();
                    }
                    let key = format!("{}{}.out", strip(output), file.key.rsplit('/').next().unwrap());
                    store.put_object(&key, Bytes::from(answers), PutCondition::Always).await.unwrap();
                }
                json!({
                    "detail-type": "SageMaker Transform Job State Change", "source": "aws.sagemaker",
                    "detail": {"TransformJobStatus": "Completed", "TransformOutput": {"S3OutputPath": output}},
                })
            };
            world.lock().unwrap().tell(&event, true);
        }
    }
}

/// What a history found wrong.
type Problems = Vec<String>;

async fn history(prepared: &Prepared, seed: u64, mutant: Mutant) -> (Problems, BTreeMap<&'static str, u64>) {
    let store = MemoryStore::new();
    for (key, bytes) in &prepared.objects {
        store.put_object(key, bytes.clone(), PutCondition::Always).await.unwrap();
    }
    let world = Arc::new(Mutex::new(World {
        random: ChaCha8Rng::seed_from_u64(seed),
        store: store.clone(),
        training: BTreeMap::new(),
        never: BTreeSet::new(),
        transform: BTreeMap::new(),
        models: BTreeSet::new(),
        packages: BTreeMap::new(),
        groups: BTreeSet::new(),
        events: Vec::new(),
        tick: 0,
        calm: false,
        mutant,
        counts: Counts::default(),
    }));
    let config = Config {
        place: JobPlace { bucket: BUCKET.to_owned(), role_arn: "arn:role".to_owned() },
        default_model: model(),
    };
    let bus = MemoryBus::default();
    let second_at = world.lock().unwrap().random.random_range(2..30);
    for tick in 0..120_u32 {
        let publishes = [(1, 0), (second_at, 1)].into_iter().find(|(at, _)| *at == tick).map(|(_, version)| version);
        if let Some(version) = publishes {
            put_in_use(&store, &prepared.versions[version]).await;
            world.lock().unwrap().tell(&pointer_event(), false);
        }
        if tick == 60 {
            world.lock().unwrap().calm = true;
        }
        World::pass(&world).await;
        let mut due: Vec<Value> = Vec::new();
        {
            let mut world = world.lock().unwrap();
            let now_tick = world.tick;
            let (ready, later): (Vec<_>, Vec<_>) =
                std::mem::take(&mut world.events).into_iter().partition(|(at, _)| *at <= now_tick);
            world.events = later;
            due.extend(ready.into_iter().map(|(_, event)| event));
            if tick % 10 == 9 && mutant != Mutant::NoSchedule {
                due.push(schedule_event());
            }
            due.shuffle(&mut world.random);
        }
        // Two at a time, call by call.
        for pair in due.chunks(2) {
            let invocations = pair.iter().map(|event| {
                let (world, config, bus) = (&world, &config, &bus);
                async move {
                    let life = {
                        let mut world = world.lock().unwrap();
                        let dies = !world.calm && world.random.random_range(0..6) == 0;
                        if dies {
                            world.counts.add("death");
                        }
                        dies.then(|| world.random.random_range(0..40))
                    };
                    let outside = Outside { world: Arc::clone(world), life: Arc::new(Mutex::new(life)) };
                    let means = Means { sagemaker: &outside, logs: &NoLogs, events: bus, place: &config.place };
                    let answer = handle(&outside, means, config, event, now(), None).await;
                    let again = match &answer {
                        Ok(answer) => answer.batch_item_failures.as_ref().is_some_and(|failed| !failed.is_empty()),
                        // Lambda tries an asynchronous event twice more, and then drops it; a queue keeps it.
                        Err(_) => event["Records"].is_array(),
                    };
                    if again {
                        let mut world = world.lock().unwrap();
                        world.counts.add("redelivery");
                        let at = world.tick + 2;
                        world.events.push((at, event.clone()));
                    }
                }
            });
            futures::future::join_all(invocations).await;
        }
    }
    let known = list_versions(&store, &model()).await.unwrap();
    let mut problems = Problems::new();
    let world = world.lock().unwrap();
    let mut jobs_of_input: BTreeMap<(String, String), u32> = BTreeMap::new();
    for version in &known {
        let order = version.order.as_ref().unwrap();
        let created = world.training.get(&version.version).map_or(0, |job| job.created);
        *jobs_of_input.entry((order.lineage.dataset.address.clone(), order.variant.clone())).or_default() += created;
        let job = world.training.get(&version.version);
        let was_told = || {
            let told = bus.events();
            told.iter().any(|event| {
                event.detail_type == TRAINING_FAILED && event.detail["model_version"] == version.version.as_str()
            })
        };
        let expected = match job {
            None if !world.never.contains(&version.version) => "ordered, and there is no job",
            None if version.state != VersionState::Failed => "never taken, and nobody wrote it down",
            None if !was_told() => "never taken, and nobody was told",
            Some(job) if !job.ended => "its job has not ended",
            Some(job) if job.fails && version.state != VersionState::Failed => "failed, and nobody wrote it down",
            Some(job) if job.fails && !was_told() => "failed, and nobody was told",
            Some(job) if !job.fails && version.registered.is_none() => "finished, and not registered",
            Some(job) if !job.fails && version.verdict.is_none() => "registered, and not judged",
            Some(job) if !job.fails && !version.verdict.as_ref().unwrap().offered => "perfect, and refused",
            _ => "",
        };
        if !expected.is_empty() {
            problems.push(format!("{}: {expected}", version.version));
        }
    }
    for job in world.training.keys() {
        if known.iter().all(|version| version.version != *job) {
            problems.push(format!("{job}: a job that nobody ordered"));
        }
    }
    for ((dataset, variant), created) in &jobs_of_input {
        if *created > 1 {
            problems.push(format!("{variant} on {}: {created} jobs are paid for", &dataset[..8]));
        }
    }
    let latest = &prepared.versions[1].address;
    for variant in ["deep", "shallow"] {
        if !jobs_of_input.contains_key(&(latest.clone(), variant.to_owned())) {
            problems.push(format!("{variant} was not trained on the version in use"));
        }
    }
    if world.transform.values().any(|job| job.created > 1) {
        problems.push("a transform job is paid for twice".to_owned());
    }
    (problems, world.counts.kinds.clone())
}

fn run(seeds: Range<u64>, mutant: Mutant) -> (Vec<String>, BTreeMap<&'static str, u64>) {
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get) as u64;
    let (mut problems, mut counts) = (Vec::new(), BTreeMap::new());
    let results: Vec<_> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads)
            .map(|worker| {
                let seeds = seeds.clone();
                scope.spawn(move || {
                    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
                    runtime.block_on(async {
                        let prepared = prepared().await;
                        let mut found = Vec::new();
                        for seed in seeds.filter(|seed| seed % threads == worker) {
                            found.push((seed, history(&prepared, seed, mutant).await));
                        }
                        found
                    })
                })
            })
            .collect();
        workers.into_iter().flat_map(|worker| worker.join().unwrap()).collect()
    });
    for (seed, (found, kinds)) in results {
        problems.extend(found.into_iter().map(|problem| format!("SEED={seed}: {problem}")));
        for (kind, count) in kinds {
            *counts.entry(kind).or_insert(0) += count;
        }
    }
    (problems, counts)
}

#[test]
fn one_input_is_one_paid_job_and_every_finished_model_is_registered_and_judged() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let seeds = match number("SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("HISTORIES").map_or(40, |histories| histories.min(10_000)),
    };
    let many = seeds.end - seeds.start > 20;
    let (problems, counts) = run(seeds.clone(), Mutant::None);
    println!("{} histories: {counts:?}", seeds.end - seeds.start);
    assert!(problems.is_empty(), "{:#?}", &problems[..problems.len().min(20)]);
    if many {
        for kind in [
            "refused call",
            "lost answer",
            "lost event",
            "event twice",
            "late event",
            "death",
            "redelivery",
            "job that is never taken",
        ] {
            assert!(counts.get(kind).is_some_and(|count| *count > 0), "no {kind} in {counts:?}");
        }
    }
}

#[test]
fn bugs_on_purpose_are_noticed() {
    for (mutant, word) in [(Mutant::NoSchedule, "not"), (Mutant::NamesTwice, "paid for")] {
        let (problems, _) = run(0..30, mutant);
        assert!(problems.iter().any(|problem| problem.contains(word)), "{mutant:?}: {problems:?}");
    }
}
