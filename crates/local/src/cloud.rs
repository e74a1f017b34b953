//! The local cloud as a whole: everything started, wired and stopped together.

use std::{
    collections::BTreeMap,
    fs,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;
use tokio::task::JoinHandle;

use crate::{
    api_gateway::{self, Api, Authorizer, Place, Routes, StaticFiles},
    cloud_watch_logs,
    error::LocalError,
    event_bridge::{self, EventBus},
    http_server::{self, Server},
    lambda::{self, Extras, Function, Functions, Host, client_environment},
    notifications::Notifier,
    options::Options,
    processes::Processes,
    s3::{self, Faults, Store},
    sagemaker::{self, EndpointFault, Parts, SageMaker},
    schedules::{self, Expression},
    sqs::{self, Mapping, Queues},
    template::{ScheduleSpec, Setting, Template},
    warehouse::{self, RunningWarehouse},
};

/// A running local cloud. [`LocalCloud::shutdown`] ends it in order; dropping it kills its processes.
pub struct LocalCloud {
    template: Template,
    setting: Setting,
    environment: BTreeMap<String, String>,
    functions: Arc<Functions>,
    queues: Arc<Queues>,
    sagemaker: Arc<SageMaker>,
    processes: Arc<Processes>,
    servers: Servers,
    s3_faults: Arc<Faults>,
    /// Pollers and schedules.
    tasks: Vec<JoinHandle<()>>,
    shutdown_grace: Duration,
}

struct Servers {
    api: Server,
    s3: Server,
    lambda: Server,
    sqs: Server,
    event_bridge: Server,
    sagemaker: Server,
    sagemaker_runtime: Server,
    /// It serves while it is kept.
    _cloud_watch_logs: Server,
    warehouse: RunningWarehouse,
}

/// What has happened since the start, and what is going on.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Statistics {
    /// By function name.
    pub functions: BTreeMap<String, FunctionStatistics>,
    /// By queue name.
    pub queues: BTreeMap<String, QueueStatistics>,
    /// SageMaker trainings that run and endpoints that change.
    pub sagemaker_busy: usize,
    /// Child processes.
    pub processes: usize,
}

/// One function's numbers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct FunctionStatistics {
    /// Events that reached an instance, or should have.
    pub invocations: u64,
    /// Of these, those that ended in an error, a crash or a timeout.
    pub errors: u64,
    /// Events that the reserved concurrency kept out.
    pub throttles: u64,
    /// Processes started.
    pub instances_started: u64,
    /// Asynchronous events that failed in all tries.
    pub discarded: u64,
    /// Events that run or wait now.
    pub in_flight: u64,
}

/// One queue's numbers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct QueueStatistics {
    /// Messages that can be received.
    pub visible: usize,
    /// Messages that somebody has received and not deleted.
    pub in_flight: usize,
    /// Messages that cannot be received yet.
    pub delayed: usize,
    /// Whether it holds other queues' dead letters.
    pub dead_letters: bool,
}

impl LocalCloud {
    /// Reads the template and starts everything that it describes. It must be called within a tokio runtime with more
    /// than one thread.
    ///
    /// # Errors
    /// See [`LocalError`]: the template is wrong, a port is taken, the folder cannot be written.
    pub async fn start(options: Options) -> Result<Self, LocalError> {
        let ports = options.ports;
        let api_listener = http_server::listen("the HTTP API", ports.api).await?;
        let s3_listener = http_server::listen("S3", ports.s3).await?;
        let lambda_listener = http_server::listen("Lambda", ports.lambda).await?;
        let sqs_listener = http_server::listen("SQS", ports.sqs).await?;
        let events_listener = http_server::listen("EventBridge", ports.event_bridge).await?;
        let sagemaker_listener = http_server::listen("SageMaker", ports.sagemaker).await?;
        let runtime_listener = http_server::listen("SageMaker's runtime", ports.sagemaker_runtime).await?;
        let logs_listener = http_server::listen("CloudWatch Logs", 0).await?;
        let warehouse_listener = http_server::listen("the warehouse", ports.warehouse).await?;
        let url = |listener: &tokio::net::TcpListener| match listener.local_addr() {
            Ok(address) => format!("http://{address}"),
            Err(_) => String::new(),
        };
        let setting = Setting {
            parameters: options.parameters.clone(),
            stack_name: options.stack_name.clone(),
            region: options.region.clone(),
            account_id: options.account_id.clone(),
            sqs_url: url(&sqs_listener),
        };
        let template = Template::parse(&options.template, &setting)?;
        let mut environment = client_environment(
            &options.region,
            &[
                ("S3", url(&s3_listener)),
                ("LAMBDA", url(&lambda_listener)),
                ("SQS", url(&sqs_listener)),
                ("EVENTBRIDGE", url(&events_listener)),
                ("SAGEMAKER", url(&sagemaker_listener)),
                ("SAGEMAKER_RUNTIME", url(&runtime_listener)),
                ("CLOUDWATCH_LOGS", url(&logs_listener)),
            ],
        );
        environment.extend(warehouse::environment(&url(&warehouse_listener)));
        environment.extend(options.environment.clone());

        let root = std::path::absolute(&options.root).map_err(LocalError::file("find", &options.root))?;
        let (s3_root, logs, sagemaker_root) = (root.join("s3"), root.join("logs"), root.join("sagemaker"));
        for folder in [&s3_root, &logs, &sagemaker_root] {
            fs::create_dir_all(folder).map_err(LocalError::file("create", folder))?;
        }
        let events_log = logs.join("events.jsonl");
        // Endpoints do not outlive their processes; their unpacked models need not either.
        let endpoints = sagemaker_root.join("endpoints");
        if endpoints.exists() {
            fs::remove_dir_all(&endpoints).map_err(LocalError::file("empty", &endpoints))?;
        }
        let opened = tokio::task::spawn_blocking({
            let root = s3_root.clone();
            move || Store::open(&root)
        });
        let store =
            opened.await.map_err(|error| LocalError::file("read", &s3_root)(std::io::Error::other(error)))??;
        let store = Arc::new(store);
        for bucket in &template.buckets {
            store.create_bucket(&bucket.name).map_err(LocalError::file("create", s3_root.join(&bucket.name)))?;
        }

        let processes = Processes::new(options.child_wrapper.clone())?;
        let queues = Arc::new(Queues::new(&template.queues, &options.region, &options.account_id));
        let host = Arc::new(Host {
            processes: processes.clone(),
            launcher: options.launcher.clone(),
            environment: environment.clone(),
            region: options.region.clone(),
            account_id: options.account_id.clone(),
            logs: logs.clone(),
            max_instances: options.max_instances,
            init_timeout: options.init_timeout,
            async_retry_delay: options.async_retry_delay,
            queues: queues.clone(),
        });
        let specs = template.functions.iter().cloned();
        let functions = specs.map(|spec| (spec.name.clone(), Function::new(spec, host.clone()))).collect();
        let functions = Arc::new(Functions(functions));
        let notifier = Notifier {
            rules: template.notifications.clone(),
            event_rules: template.rules.clone(),
            buckets: template.buckets.clone(),
            queues: queues.clone(),
            functions: functions.clone(),
            region: options.region.clone(),
            account_id: options.account_id.clone(),
        };
        // Changes come from blocking threads too, but telling a function of one needs the runtime.
        let runtime = tokio::runtime::Handle::current();
        store.on_change(move |change| {
            let _entered = runtime.enter();
            notifier.tell(&change);
        });
        let sagemaker = SageMaker::new(Parts {
            processes: processes.clone(),
            store: store.clone(),
            images: options.images.clone(),
            python: options.python.clone(),
            environment: environment.clone(),
            root: sagemaker_root,
            logs: logs.clone(),
            region: options.region.clone(),
            account_id: options.account_id.clone(),
            start_timeout: options.container_start_timeout,
        })?;
        let api = Api {
            routes: Routes::new(&template.routes),
            functions: functions.clone(),
            account_id: options.account_id.clone(),
            static_files: StaticFiles { places: places(&options, &template), store: store.clone() },
            authorizer: options.check_signatures.then(|| Authorizer { region: options.region.clone() }),
        };
        let bus = EventBus {
            rules: template.rules.clone(),
            functions: functions.clone(),
            region: options.region.clone(),
            account_id: options.account_id.clone(),
            log: events_log,
        };
        let bus = Arc::new(bus);
        sagemaker.tell_changes_to(bus.clone());
        let warehouse = RunningWarehouse::start(&root, warehouse_listener).await?;
        let s3_faults = Arc::<Faults>::default();
        let servers = Servers {
            api: api_gateway::serve(api_listener, api),
            s3: s3::serve(s3_listener, store, s3_faults.clone()),
            lambda: lambda::serve_invoke_api(lambda_listener, functions.clone()),
            sqs: sqs::serve(sqs_listener, queues.clone(), options.account_id.clone()),
            event_bridge: event_bridge::serve(events_listener, bus),
            sagemaker: sagemaker::serve_control_plane(sagemaker_listener, sagemaker.clone()),
            sagemaker_runtime: sagemaker::serve_runtime(runtime_listener, sagemaker.clone()),
            _cloud_watch_logs: cloud_watch_logs::serve(logs_listener, logs),
            warehouse,
        };
        let mut cloud = Self {
            template,
            setting,
            environment,
            functions,
            queues,
            sagemaker,
            processes,
            servers,
            s3_faults,
            tasks: Vec::new(),
            shutdown_grace: options.shutdown_grace,
        };
        cloud.start_pollers(&options)?;
        Ok(cloud)
    }

    fn start_pollers(&mut self, options: &Options) -> Result<(), LocalError> {
        for spec in &self.template.queue_mappings {
            let Some(queue) = self.queues.0.get(&spec.queue).cloned() else { continue };
            let mut spec = spec.clone();
            spec.window = options.batching_window_limit.map_or(spec.window, |limit| spec.window.min(limit));
            let function = self.functions.get(&spec.function)?.clone();
            let region = options.region.clone();
            let mapping = Mapping { spec, queue, function, region, retry_delay: options.queue_retry_delay };
            self.tasks.push(tokio::spawn(sqs::run_mapping(mapping)));
        }
        for schedule in self.template.schedules.iter().filter(|schedule| options.schedules_enabled && schedule.enabled)
        {
            let Ok(expression) = Expression::parse(&schedule.expression, &schedule.time_zone) else { continue };
            let function = self.functions.get(&schedule.function)?.clone();
            let (schedule, setting) = (schedule.clone(), self.setting.clone());
            self.tasks.push(tokio::spawn(follow(expression, schedule, setting, function)));
        }
        Ok(())
    }

    /// The HTTP API, such as `http://127.0.0.1:40123`.
    pub fn api_url(&self) -> String {
        self.servers.api.url()
    }

    /// S3; keys are addressed path-style.
    pub fn s3_url(&self) -> String {
        self.servers.s3.url()
    }

    /// Lambda's Invoke API.
    pub fn lambda_url(&self) -> String {
        self.servers.lambda.url()
    }

    /// SQS.
    pub fn sqs_url(&self) -> String {
        self.servers.sqs.url()
    }

    /// EventBridge.
    pub fn event_bridge_url(&self) -> String {
        self.servers.event_bridge.url()
    }

    /// SageMaker's control plane.
    pub fn sagemaker_url(&self) -> String {
        self.servers.sagemaker.url()
    }

    /// SageMaker's InvokeEndpoint.
    pub fn sagemaker_runtime_url(&self) -> String {
        self.servers.sagemaker_runtime.url()
    }

    /// The warehouse: BigQuery's REST API and the Storage Read API, at one address.
    pub fn warehouse_url(&self) -> String {
        self.servers.warehouse.server.url()
    }

    /// The warehouse itself: its tables, its faults.
    pub fn warehouse(&self) -> &local_warehouse::Warehouse {
        &self.servers.warehouse.warehouse
    }

    /// What any client on this laptop needs: region, credentials, endpoints.
    pub fn environment(&self) -> BTreeMap<String, String> {
        self.environment.clone()
    }

    /// What the template says.
    pub fn template(&self) -> &Template {
        &self.template
    }

    /// What the template asks for and is not emulated.
    pub fn warnings(&self) -> &[String] {
        &self.template.warnings
    }

    /// The template's buckets, in its order.
    pub fn bucket_names(&self) -> Vec<String> {
        self.template.buckets.iter().map(|bucket| bucket.name.clone()).collect()
    }

    /// Runs a function with `payload` and waits for its answer.
    ///
    /// # Errors
    /// [`LocalError::Unknown`], [`LocalError::Function`], [`LocalError::Throttled`], [`LocalError::Answer`].
    pub async fn invoke(&self, function: &str, payload: &Value) -> Result<Value, LocalError> {
        let found = self.functions.get(function)?;
        found.invoke(payload.to_string().into(), Extras::default()).await.into_value(function)
    }

    /// Fires a schedule of `function` now and waits for the function's answer. `name` is the event's name in the
    /// template; `None` takes the function's only one.
    ///
    /// # Errors
    /// As [`LocalCloud::invoke`]; [`LocalError::Unknown`] if there is no such schedule, or more than one and no name.
    pub async fn run_schedule(&self, function: &str, name: Option<&str>) -> Result<Value, LocalError> {
        self.functions.get(function)?;
        let of_function = || self.template.schedules.iter().filter(|schedule| schedule.function == function);
        let mut fitting = of_function().filter(|schedule| name.is_none_or(|name| schedule.name == name));
        let (Some(schedule), None) = (fitting.next(), fitting.next()) else {
            return Err(LocalError::Unknown {
                kind: "schedule",
                name: format!("{function}/{}", name.unwrap_or("(no name given)")),
                known: of_function().map(|schedule| schedule.name.as_str()).collect::<Vec<_>>().join(", "),
            });
        };
        self.invoke(function, &schedules::event(schedule, &self.setting, Timestamp::now())).await
    }

    /// Puts a message into a queue; gives its id.
    ///
    /// # Errors
    /// [`LocalError::Unknown`].
    pub fn send_message(&self, queue: &str, body: &str) -> Result<String, LocalError> {
        let found = self.queues.0.get(queue).ok_or_else(|| LocalError::Unknown {
            kind: "queue",
            name: queue.to_owned(),
            known: self.queues.0.keys().map(String::as_str).collect::<Vec<_>>().join(", "),
        })?;
        Ok(found.send(body, None))
    }

    /// Tells a SageMaker endpoint, or one of its variants, to have a fault from now on; `None` heals. The same as the control
    /// route `/_faults` of SageMaker's runtime.
    pub fn set_endpoint_fault(&self, endpoint: &str, variant: Option<&str>, fault: Option<EndpointFault>) {
        self.sagemaker.set_fault(endpoint, variant, fault);
    }

    /// Waits until no event runs, no queue but the dead-letter queues holds anything, and SageMaker is at rest.
    ///
    /// # Errors
    /// [`LocalError::StillBusy`] after `timeout`, with what is busy.
    pub async fn wait_until_idle(&self, timeout: Duration) -> Result<(), LocalError> {
        let begun = Instant::now();
        let mut quiet = 0;
        loop {
            let busy = self.statistics().busy();
            quiet = if busy.is_empty() { quiet + 1 } else { 0 };
            // Twice, because work may be on its way from one place to the next.
            if quiet == 2 {
                return Ok(());
            }
            if begun.elapsed() >= timeout {
                return Err(LocalError::StillBusy { seconds: timeout.as_secs_f64(), busy: busy.join(", ") });
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// What has happened since the start, and what is going on.
    pub fn statistics(&self) -> Statistics {
        let functions = self.functions.0.iter().map(|(name, function)| {
            let counts = &function.counts;
            let statistics = FunctionStatistics {
                invocations: counts.invocations.load(Ordering::Relaxed),
                errors: counts.errors.load(Ordering::Relaxed),
                throttles: counts.throttles.load(Ordering::Relaxed),
                instances_started: counts.instances_started.load(Ordering::Relaxed),
                discarded: counts.discarded.load(Ordering::Relaxed),
                in_flight: counts.in_flight.load(Ordering::Relaxed),
            };
            (name.clone(), statistics)
        });
        let is_target = |name: &str| {
            self.template.queues.iter().any(|queue| queue.redrive.as_ref().is_some_and(|(target, _)| target == name))
                || self.template.functions.iter().any(|function| function.dead_letter_queue.as_deref() == Some(name))
        };
        let queues = self.queues.0.iter().map(|(name, queue)| {
            let depth = queue.depth();
            let statistics = QueueStatistics {
                visible: depth.visible,
                in_flight: depth.in_flight,
                delayed: depth.delayed,
                dead_letters: is_target(name),
            };
            (name.clone(), statistics)
        });
        Statistics {
            functions: functions.collect(),
            queues: queues.collect(),
            sagemaker_busy: self.sagemaker.busy(),
            processes: self.processes.ids().len(),
        }
    }

    /// Process ids of all children that run now.
    pub fn process_ids(&self) -> Vec<u32> {
        self.processes.ids()
    }

    /// From now on S3 answers every request for a key below `prefix` with 503 `SlowDown`, every request where the prefix is
    /// empty. `None` ends it.
    pub fn fail_s3(&self, prefix: Option<&str>) {
        self.s3_faults.set(prefix.map(str::to_owned));
    }

    /// Ends everything: no new work, extensions are told, children get SIGTERM, then SIGKILL after the grace. When it
    /// returns no child is left.
    pub async fn shutdown(mut self) {
        for task in self.tasks.drain(..) {
            task.abort();
        }
        for function in self.functions.0.values() {
            function.announce_shutdown(self.shutdown_grace);
        }
        self.processes.close();
        self.processes.stop_all(self.shutdown_grace).await;
        for function in self.functions.0.values() {
            function.forget_instances();
        }
    }
}

impl Drop for LocalCloud {
    fn drop(&mut self) {
        for task in self.tasks.drain(..) {
            task.abort();
        }
        self.processes.close();
        self.processes.kill_all();
    }
}

impl Statistics {
    /// What is not at rest, in words.
    fn busy(&self) -> Vec<String> {
        let functions = self.functions.iter().filter(|(_, numbers)| numbers.in_flight > 0);
        let functions = functions.map(|(name, numbers)| format!("{name} runs {}", numbers.in_flight));
        let queues = self.queues.iter().filter(|(_, numbers)| !numbers.dead_letters);
        let queues = queues.filter_map(|(name, numbers)| {
            let total = numbers.visible + numbers.in_flight + numbers.delayed;
            (total > 0).then(|| format!("{name} holds {total} ({} in flight)", numbers.in_flight))
        });
        let sagemaker = (self.sagemaker_busy > 0).then(|| format!("SageMaker runs {}", self.sagemaker_busy));
        functions.chain(queues).chain(sagemaker).collect()
    }
}

/// Fires a schedule whenever it is due.
async fn follow(expression: Expression, schedule: ScheduleSpec, setting: Setting, function: Arc<Function>) {
    let mut last = Timestamp::now();
    while let Some(due) = expression.next(last) {
        // In steps: a laptop sleeps and its clock is set.
        loop {
            let left = due.duration_since(Timestamp::now());
            let Ok(left) = Duration::try_from(left) else { break };
            if left.is_zero() {
                break;
            }
            tokio::time::sleep(left.min(Duration::from_secs(30))).await;
        }
        function.invoke_async(schedules::event(&schedule, &setting, due).to_string().into());
        // What was missed while the laptop slept is fired once.
        last = due.max(Timestamp::now());
    }
}

fn places(options: &Options, template: &Template) -> Vec<Place> {
    let first = template.buckets.first().map(|bucket| bucket.name.clone());
    let routes = options.static_routes.iter();
    routes
        .filter_map(|route| {
            Some(Place {
                path_prefix: format!("/{}", route.path_prefix.trim_matches('/')),
                bucket: route.bucket.clone().or_else(|| first.clone())?,
                key_prefix: route.key_prefix.clone(),
            })
        })
        .collect()
}
