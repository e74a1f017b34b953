//! Child processes that do not outlive us.
//!
//! On Linux a process can ask for a signal when its parent ends. It has to ask by itself, so every child starts as a
//! wrapper ([`run_child`]) that asks and then becomes the real program. The signal comes when the *thread* that
//! started the child ends; the async runtime's threads come and go, so one thread of ours does all starting.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fs::File,
    io,
    os::unix::process::CommandExt as _,
    path::PathBuf,
    process::{ExitStatus, Stdio},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
        mpsc::{Sender, channel},
    },
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::{
    runtime::Handle,
    sync::{mpsc, oneshot, watch},
};

use crate::error::LocalError;

/// Becomes the program named in `args`, having asked to be killed when the parent ends.
///
/// `args` is what the wrapper (see [`crate::Options::child_wrapper`]) got after its own arguments: the parent's process
/// id, the program, the program's arguments. It returns only if something went wrong.
pub fn run_child(args: impl IntoIterator<Item = OsString>) -> LocalError {
    let mut args = args.into_iter();
    let parent = args.next().and_then(|id| id.to_str().and_then(|id| id.parse::<i32>().ok()));
    let program = args.next().unwrap_or_default();
    let name = program.to_string_lossy().into_owned();
    let start = |source| LocalError::Start { program: name.clone(), source };
    #[cfg(any(target_os = "linux", target_os = "android"))]
    if let Err(error) = rustix::process::set_parent_process_death_signal(Some(Signal::KILL)) {
        return start(error.into());
    }
    // The parent may have ended before the signal was asked for.
    if rustix::process::getppid().map(Pid::as_raw_pid) != parent {
        return start(io::Error::other("the parent has ended, or its process id was not given"));
    }
    start(std::process::Command::new(&program).args(args).exec())
}

/// What to start.
#[derive(Debug, Clone, Default)]
pub(crate) struct Program {
    pub(crate) path: PathBuf,
    pub(crate) args: Vec<String>,
    /// The whole environment, but for what every program needs (`PATH` and the like).
    pub(crate) environment: BTreeMap<String, String>,
    pub(crate) directory: Option<PathBuf>,
    /// Output is appended here.
    pub(crate) log: Option<PathBuf>,
    /// It is told of the end by other means than SIGTERM.
    pub(crate) leaves_by_itself: bool,
}

/// Host variables that a child sees too. Nothing else of the host leaks in, no `AWS_PROFILE` above all.
const PASSED_ON: [&str; 8] =
    ["PATH", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "TMPDIR", "RUST_LOG", "RUST_BACKTRACE", "LLVM_PROFILE_FILE"];

/// A running child.
#[derive(Debug, Clone)]
pub(crate) struct Process {
    pub(crate) id: u32,
    leaves_by_itself: bool,
    signals: mpsc::UnboundedSender<Signal>,
    ended: watch::Receiver<Option<ExitStatus>>,
}

impl Process {
    pub(crate) fn has_ended(&self) -> bool {
        self.ended.borrow().is_some()
    }

    /// Waits for the end. `None`: the runtime is going down.
    pub(crate) async fn wait(&self) -> Option<ExitStatus> {
        let mut ended = self.ended.clone();
        let status = ended.wait_for(Option::is_some).await;
        status.ok().and_then(|status| *status)
    }

    /// SIGKILL for the child and its process group, and waits for the end.
    pub(crate) async fn kill(&self) {
        self.kill_now();
        self.wait().await;
    }

    /// SIGKILL without waiting.
    pub(crate) fn kill_now(&self) {
        let _ = self.signals.send(Signal::KILL);
    }

    /// SIGTERM (but to those who leave by themselves), `grace`, SIGKILL, and waits for the end.
    pub(crate) async fn stop(&self, grace: Duration) {
        if !self.leaves_by_itself {
            let _ = self.signals.send(Signal::TERM);
        }
        if tokio::time::timeout(grace, self.wait()).await.is_err() {
            self.kill().await;
        }
    }
}

type Order = (tokio::process::Command, oneshot::Sender<io::Result<tokio::process::Child>>);

/// Starts children and knows those that run.
#[derive(Debug)]
pub(crate) struct Processes {
    wrapper: Option<Vec<String>>,
    /// The thread ends with this, and with the thread all children: it must live as long as they.
    orders: Mutex<Sender<Order>>,
    closed: AtomicBool,
    running: Arc<Mutex<BTreeMap<u32, Process>>>,
}

impl Processes {
    pub(crate) fn new(wrapper: Option<Vec<String>>) -> Result<Arc<Self>, LocalError> {
        let (orders, inbox) = channel::<Order>();
        let runtime = Handle::current();
        std::thread::Builder::new()
            .name("start-children".to_owned())
            .spawn(move || {
                let _entered = runtime.enter();
                while let Ok((mut command, reply)) = inbox.recv() {
                    let _ = reply.send(command.spawn());
                }
            })
            .map_err(|source| LocalError::Start { program: "a thread".to_owned(), source })?;
        Ok(Arc::new(Self {
            wrapper,
            orders: Mutex::new(orders),
            closed: AtomicBool::new(false),
            running: Arc::default(),
        }))
    }

    pub(crate) async fn start(&self, program: &Program) -> Result<Process, LocalError> {
        let name = program.path.display().to_string();
        let failed = |source| LocalError::Start { program: name.clone(), source };
        let mut command = match self.wrapper.as_deref() {
            Some([wrapper, rest @ ..]) => {
                let mut command = tokio::process::Command::new(wrapper);
                command.args(rest).arg(std::process::id().to_string()).arg(&program.path);
                command
            }
            _ => tokio::process::Command::new(&program.path),
        };
        command.args(&program.args).env_clear().stdin(Stdio::null()).process_group(0).kill_on_drop(true);
        for name in PASSED_ON {
            if let Some(value) = std::env::var_os(name) {
                command.env(name, value);
            }
        }
        command.envs(&program.environment);
        if let Some(directory) = &program.directory {
            command.current_dir(directory);
        }
        if let Some(log) = &program.log {
            let file = File::options().create(true).append(true).open(log).map_err(LocalError::file("open", log))?;
            command.stderr(file.try_clone().map_err(LocalError::file("open", log))?).stdout(file);
        } else {
            command.stdout(Stdio::null()).stderr(Stdio::null());
        }
        let (reply, started) = oneshot::channel();
        let gone = || io::Error::other("the local cloud is going down");
        let orders = self.orders.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if self.closed.load(Ordering::Acquire) {
            return Err(failed(gone()));
        }
        orders.send((command, reply)).map_err(|_| failed(gone()))?;
        let child = started.await.map_err(|_| failed(gone()))?.map_err(failed)?;
        Ok(self.watch(child, program.leaves_by_itself))
    }

    fn watch(&self, mut child: tokio::process::Child, leaves_by_itself: bool) -> Process {
        let (signals, mut inbox) = mpsc::unbounded_channel();
        let (end, ended) = watch::channel(None);
        let id = child.id().unwrap_or_default();
        let process = Process { id, leaves_by_itself, signals, ended };
        self.running.lock().unwrap_or_else(PoisonError::into_inner).insert(id, process.clone());
        let running = self.running.clone();
        // One task waits and signals, so that no signal can reach a stranger who got the process id later.
        tokio::spawn(async move {
            let status = loop {
                tokio::select! {
                    status = child.wait() => break status.unwrap_or_default(),
                    Some(signal) = inbox.recv() => {
                        if let Some(group) = child.id().and_then(|id| Pid::from_raw(id.cast_signed())) {
                            let _ = kill_process_group(group, signal);
                        }
                    }
                }
            };
            running.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
            let _ = end.send(Some(status));
        });
        process
    }

    fn all(&self) -> Vec<Process> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// Starts no more children.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::Release);
    }

    /// Stops all that still run.
    pub(crate) async fn stop_all(&self, grace: Duration) {
        // One that was being started may turn up only now.
        loop {
            let all = self.all();
            if all.is_empty() {
                return;
            }
            futures::future::join_all(all.iter().map(|process| process.stop(grace))).await;
        }
    }

    /// Kills all that still run, without waiting.
    pub(crate) fn kill_all(&self) {
        for process in self.all() {
            process.kill_now();
        }
    }

    /// Process ids of those that run.
    pub(crate) fn ids(&self) -> Vec<u32> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner).keys().copied().collect()
    }
}

/// How a process ended, in the words that Lambda uses.
pub(crate) fn describe(status: Option<ExitStatus>) -> String {
    use std::os::unix::process::ExitStatusExt as _;
    match status.map(|status| (status.code(), status.signal())) {
        Some((Some(0), _)) => "Runtime exited without providing a reason".to_owned(),
        Some((Some(code), _)) => format!("Runtime exited with error: exit status {code}"),
        Some((None, Some(9))) => "Runtime exited with error: signal: killed".to_owned(),
        Some((None, Some(signal))) => format!("Runtime exited with error: signal: {signal}"),
        _ => "Runtime exited".to_owned(),
    }
}
