//! The configuration in force, as it is logged at the start: one line, no secrets.

use super::{Config, LogFormat};
use jeroboam_units::{Bytes, Span};
use std::fmt;

impl fmt::Display for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tls = self
            .tls
            .as_ref()
            .map_or("off".into(), |tls| tls.cert_file.display().to_string());
        let tokens = self
            .tokens_file
            .as_ref()
            .map_or("none".into(), |file| file.display().to_string());
        let metrics = self
            .metrics_listen
            .map_or("off".into(), |address| address.to_string());
        let log = match self.log {
            LogFormat::Human => "human",
            LogFormat::Json => "json",
        };
        write!(
            f,
            "listen={} metrics_listen={metrics} data_dir={} tls={tls} tokens_file={tokens} log.format={log}",
            self.listen,
            self.data_dir.display()
        )?;
        let operators: Vec<&str> = self.operators.iter().map(String::as_str).collect();
        write!(f, " operators=[{}]", operators.join(","))?;
        let leases = &self.leases;
        write!(
            f,
            " leases.contact_limit={} leases.heartbeat_interval={} leases.kill_margin={}",
            Span(leases.contact_limit_ms),
            Span(leases.heartbeat_interval_ms),
            Span(leases.kill_margin_ms)
        )?;
        write!(
            f,
            " rounds.interval={}",
            Span(self.round_interval.as_millis() as i64)
        )?;
        write!(
            f,
            " journal.snapshot_records={} journal.snapshot_bytes={}",
            self.snapshot_records,
            Bytes(self.snapshot_bytes)
        )?;
        if let Some(after) = self.accept_loss_after {
            write!(f, " journal.accept_loss_after={after}")?;
        }
        self.print_retention(f)?;
        self.print_policy(f)?;
        write!(
            f,
            " sites={} queues={}",
            self.sites.len(),
            self.queues.len()
        )
    }
}

impl Config {
    fn print_retention(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kept = &self.retention;
        write!(
            f,
            " retention.memory={} retention.history={} retention.history_entries_max={} retention.unused_files={}",
            Span(self.policy.finished_in_memory_ms),
            Span(kept.history_ms),
            kept.history_entries_max,
            Span(kept.unused_files_ms)
        )?;
        write!(
            f,
            " retention.spool_bytes_max={} retention.spool_queue_percent_max={} retention.input_bytes_max={} retention.outputs_bytes_max={} retention.outputs_files_max={} retention.log_bytes_max={}",
            Bytes(kept.spool_bytes_max),
            kept.spool_queue_percent_max,
            Bytes(kept.input_bytes_max),
            Bytes(kept.outputs_bytes_max),
            kept.outputs_files_max,
            Bytes(kept.log_bytes_max)
        )
    }

    fn print_policy(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let policy = &self.policy;
        write!(
            f,
            " policy.order={} policy.conservative_depth={}",
            policy.order.name(),
            policy.conservative_depth
        )?;
        write!(
            f,
            " policy.grace={} policy.lost_attempts_max={} policy.avoid={} policy.queued_max={} policy.placements_per_round_max={}",
            Span(policy.grace_ms),
            policy.lost_attempts_max,
            Span(policy.avoid_ms),
            policy.queued_max,
            policy.placements_per_round_max
        )?;
        write!(
            f,
            " policy.usage_half_life={} policy.memory_exponent_inner={} policy.memory_exponent_leaf={}",
            Span(policy.usage_half_life_ms),
            policy.memory_exponent_inner,
            policy.memory_exponent_leaf
        )?;
        write!(
            f,
            " policy.score_stranded={} policy.score_fill={} policy.score_price={} policy.score_kernel={} policy.extended_resources=[{}]",
            policy.score_stranded,
            policy.score_fill,
            policy.score_price,
            policy.score_kernel,
            policy.extended_resources.join(",")
        )?;
        write!(
            f,
            " policy.reservations_max={} policy.pass_permille={} policy.hold_permille={} policy.preemptions_per_round_max={} policy.preemptions_per_hour_max={} policy.preempt_by_class={} policy.preempt_after={} policy.non_preemptible_within_guarantee={}",
            policy.reservations_max,
            policy.pass_permille,
            policy.hold_permille,
            policy.preemptions_per_round_max,
            policy.preemptions_per_hour_max,
            policy.preempt_by_class,
            Span(policy.preempt_after_ms),
            policy.non_preemptible_within_guarantee
        )?;
        write!(
            f,
            " policy.quarantine_failures={} policy.quarantine_window={} policy.quarantine_quick={} policy.quarantine={} policy.quarantine_max={}",
            policy.quarantine_failures,
            Span(policy.quarantine_window_ms),
            Span(policy.quarantine_quick_ms),
            Span(policy.quarantine_ms),
            Span(policy.quarantine_max_ms)
        )
    }
}
