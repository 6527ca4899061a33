//! The command line of `jero`: its verbs, and what each of them runs.

use clap::{Parser, Subcommand};
use jeroboam_proto::v1::change_request::Verb as ChangeVerb;

use crate::failure::Failure;
use crate::{
    agent, batches, change, demo, explain, get, higgs, jobs, logs, plan, queues, serve, sites,
    submit, wait,
};

/// Batch scheduler that places jobs across federated data centres
#[derive(Debug, Parser)]
#[command(
    name = "jero",
    version,
    disable_help_subcommand = true,
    subcommand_required = true,
    arg_required_else_help = true,
    after_help = "Exit codes: 0 ok, 1 the work failed, 2 wrong usage or input, 3 scheduler
unreachable, 4 refused by the scheduler, 5 something failed on this machine."
)]
pub struct Command {
    #[command(subcommand)]
    verb: Verb,
}

/// The verbs, in the order of `jero --help`.
#[derive(Debug, Subcommand)]
enum Verb {
    Demo(demo::Args),
    Submit(submit::Args),
    Batches(batches::Args),
    Jobs(jobs::Args),
    Job(jobs::DescribeArgs),
    Logs(logs::Args),
    Get(get::Args),
    Wait(wait::Args),
    Explain(explain::Args),
    /// Cancels tasks: those that run are stopped, none starts any more
    #[command(after_help = change::examples("  jero cancel batch-3
  jero cancel 'job-17[3-7]' --reason 'wrong input'"))]
    Cancel(change::Args),
    /// Holds waiting tasks back until they are released
    #[command(after_help = change::examples("  jero hold job-17 --reason 'until the calibration is there'"))]
    Hold(change::Args),
    /// Lets held tasks go on
    #[command(after_help = change::examples("  jero release job-17"))]
    Release(change::Args),
    /// Queues failed and cancelled tasks again
    #[command(after_help = change::examples("  jero retry batch-3          what failed or was cancelled of it
  jero retry 'job-17[3-7]'"))]
    Retry(change::Args),
    /// Takes running tasks' places away: they wait again, or fail if not restartable
    #[command(after_help = change::examples("  jero preempt 'job-17[3-7]' --reason 'the node is to be mended'
  jero hold job-17 && jero preempt job-17     else it may have a place again at once"))]
    Preempt(change::Args),
    /// Changes the priority of jobs
    #[command(after_help = "SELECTOR is a batch (batch-3) or a whole job (job-17).

Example:
  jero set job-17 --priority 10 --reason 'for the conference'")]
    Set(change::SetArgs),
    Queues(queues::Args),
    #[command(subcommand)]
    Queue(queues::Verb),
    Sites(sites::Args),
    #[command(subcommand)]
    Site(sites::Verb),
    Nodes(sites::NodesArgs),
    #[command(subcommand)]
    Node(sites::NodeVerb),
    Plan(plan::Args),
    Serve(serve::Args),
    Agent(agent::Args),
    /// The program of the demo's jobs: generates collision events and adds them up
    #[command(hide = true)]
    Higgs(higgs::Args),
}

impl Command {
    /// Does what the command line asks for.
    ///
    /// # Errors
    /// Whatever its verb fails with.
    pub fn run(self) -> Result<(), Failure> {
        match self.verb {
            Verb::Demo(args) => client(demo::run(args)),
            Verb::Submit(args) => client(submit::run(args)),
            Verb::Batches(args) => client(batches::run(args)),
            Verb::Jobs(args) => client(jobs::run(args)),
            Verb::Job(args) => client(jobs::describe(args)),
            Verb::Logs(args) => client(logs::run(args)),
            Verb::Get(args) => client(get::run(args)),
            Verb::Wait(args) => client(wait::run(args)),
            Verb::Explain(args) => client(explain::run(args)),
            Verb::Cancel(args) => client(change::run(ChangeVerb::Cancel, args)),
            Verb::Hold(args) => client(change::run(ChangeVerb::Hold, args)),
            Verb::Release(args) => client(change::run(ChangeVerb::Release, args)),
            Verb::Retry(args) => client(change::run(ChangeVerb::Retry, args)),
            Verb::Preempt(args) => client(change::run(ChangeVerb::Preempt, args)),
            Verb::Set(args) => client(change::set(args)),
            Verb::Queues(args) => client(queues::list(args)),
            Verb::Queue(verb) => client(queues::change(verb)),
            Verb::Sites(args) => client(sites::list(args)),
            Verb::Site(verb) => client(sites::one(verb)),
            Verb::Nodes(args) => client(sites::nodes(args)),
            Verb::Node(verb) => client(sites::node(verb)),
            Verb::Plan(args) => plan::run(args),
            Verb::Serve(args) => serve::run(args),
            Verb::Agent(args) => agent::run(args),
            Verb::Higgs(args) => higgs::run(args).map_err(Failure::Here),
        }
    }
}

/// Runs a verb that talks to a scheduler; one thread is enough for it.
fn client(verb: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime
        .map_err(|error| Failure::Here(error.into()))?
        .block_on(verb)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_tree_is_sound() {
        Command::command().debug_assert();
    }

    #[test]
    fn every_visible_verb_has_an_example_of_its_own() {
        fn check(command: &clap::Command, path: &str, without: &mut Vec<String>) {
            let path = format!("{path}{}", command.get_name());
            if command.has_subcommands() {
                let verbs = command.get_subcommands().filter(|verb| !verb.is_hide_set());
                return verbs.for_each(|verb| check(verb, &format!("{path} "), without));
            }
            let help = command.get_after_help().map(ToString::to_string);
            if !help.is_some_and(|help| help.contains(&format!("\n  {path}"))) {
                without.push(path);
            }
        }
        let mut without = Vec::new();
        check(&Command::command(), "", &mut without);
        assert!(without.is_empty(), "without an example: {without:?}");
    }

    #[test]
    fn every_visible_verb_says_what_it_does() {
        fn check(command: &clap::Command, path: &str) {
            let path = format!("{path} {}", command.get_name());
            let about = command
                .get_about()
                .map(ToString::to_string)
                .unwrap_or_default();
            assert!(
                !about.is_empty() && !about.contains('\n'),
                "{path}: {about:?}"
            );
            command
                .get_subcommands()
                .for_each(|verb| check(verb, &path));
        }
        check(&Command::command(), "");
    }
}
