"""The surface of pgflow 0.14.1: signatures, columns, names of constraints."""

from __future__ import annotations

FUNCTIONS = {
    "is_valid_slug": ("slug text", "boolean"),
    "calculate_retry_delay": ("base_delay numeric, attempts_count integer", "integer"),
    "create_flow": (
        "flow_slug text, max_attempts integer DEFAULT NULL::integer,"
        " base_delay integer DEFAULT NULL::integer, timeout integer DEFAULT NULL::integer",
        "pgflow.flows",
    ),
    "add_step": (
        "flow_slug text, step_slug text, deps_slugs text[] DEFAULT '{}'::text[],"
        " max_attempts integer DEFAULT NULL::integer, base_delay integer DEFAULT NULL::integer,"
        " timeout integer DEFAULT NULL::integer, start_delay integer DEFAULT NULL::integer,"
        " step_type text DEFAULT 'single'::text, required_input_pattern jsonb DEFAULT NULL::jsonb,"
        " forbidden_input_pattern jsonb DEFAULT NULL::jsonb, when_unmet text DEFAULT 'skip'::text,"
        " when_exhausted text DEFAULT 'fail'::text",
        "pgflow.steps",
    ),
    "start_flow": (
        "flow_slug text, input jsonb, run_id uuid DEFAULT NULL::uuid",
        "SETOF pgflow.runs",
    ),
    "start_tasks": (
        "flow_slug text, msg_ids bigint[], worker_id uuid",
        "SETOF pgflow.step_task_record",
    ),
    "complete_task": (
        "run_id uuid, step_slug text, task_index integer, output jsonb",
        "SETOF pgflow.step_tasks",
    ),
    "fail_task": (
        "run_id uuid, step_slug text, task_index integer, error_message text",
        "SETOF pgflow.step_tasks",
    ),
    "is_local": ("", "boolean"),
    "_get_flow_shape": ("p_flow_slug text", "jsonb"),
    "_compare_flow_shapes": ("p_local jsonb, p_db jsonb", "text[]"),
    "_create_flow_from_shape": ("p_flow_slug text, p_shape jsonb", "void"),
    "ensure_flow_compiled": (
        "flow_slug text, shape jsonb, allow_data_loss boolean DEFAULT false",
        "jsonb",
    ),
    "delete_flow_and_data": ("p_flow_slug text", "void"),
    "prune_data_older_than": ("retention_interval interval", "void"),
    "start_flow_with_states": (
        "flow_slug text, input jsonb, run_id uuid DEFAULT NULL::uuid",
        "jsonb",
    ),
    "get_run_with_states": ("run_id uuid", "jsonb"),
    "set_vt_batch": (
        "queue_name text, msg_ids bigint[], vt_offsets integer[]",
        "TABLE(msg_id bigint, read_ct integer, enqueued_at timestamp with time zone,"
        " vt timestamp with time zone, message jsonb, headers jsonb)",
    ),
    "poll_for_tasks": (
        "queue_name text, vt integer, qty integer, max_poll_seconds integer DEFAULT 5,"
        " poll_interval_ms integer DEFAULT 100",
        "SETOF pgflow.step_task_record",
    ),
    "start_ready_steps": ("run_id uuid", "void"),
    "cascade_complete_taskless_steps": ("run_id uuid", "integer"),
    "cascade_resolve_conditions": ("run_id uuid", "boolean"),
    "_cascade_force_skip_steps": ("run_id uuid, step_slug text, skip_reason text", "integer"),
    "maybe_complete_run": ("run_id uuid", "void"),
    "_archive_task_message": ("p_run_id uuid, p_step_slug text, p_task_index integer", "void"),
    "track_worker_function": ("function_name text", "void"),
    "mark_worker_stopped": ("worker_id uuid", "void"),
    "requeue_stalled_tasks": ("", "integer"),
    "setup_requeue_stalled_tasks_cron": (
        "cron_interval text DEFAULT '15 seconds'::text",
        "text",
    ),
    "ensure_workers": (
        "",
        "TABLE(function_name text, invoked boolean, request_id bigint)",
    ),
    "setup_ensure_workers_cron": ("cron_interval text DEFAULT '1 second'::text", "text"),
    "cleanup_ensure_workers_logs": (
        "retention_hours integer DEFAULT 24",
        "TABLE(cron_deleted bigint)",
    ),
}

# callers may not read the tables: these run as their owner
SECURITY_DEFINERS = {"get_run_with_states", "start_flow_with_states", "requeue_stalled_tasks"}

RECORD = [
    "flow_slug text",
    "run_id uuid",
    "step_slug text",
    "input jsonb",
    "msg_id bigint",
    "task_index integer",
    "flow_input jsonb",
]

Column = tuple[str, str, str | None]
TIME, NOW = "timestamp with time zone", "now()"


def text(*names: str) -> list[Column]:
    return [(name, "text", None) for name in names]


def key(*names: str) -> list[Column]:
    return [(name, "text!", None) for name in names]


def times(*names: str) -> list[Column]:
    return [(name, TIME, None) for name in names]


def count(name: str) -> Column:
    return name, "integer!", "0"


def since(name: str) -> Column:
    return name, f"{TIME}!", NOW


# name, type (! is not null), default
COLUMNS: dict[str, list[Column]] = {
    "flows": [
        *key("flow_slug"),
        ("opt_max_attempts", "integer!", "3"),
        ("opt_base_delay", "integer!", "1"),
        ("opt_timeout", "integer!", "60"),
        since("created_at"),
    ],
    "steps": [
        *key("flow_slug", "step_slug"),
        ("step_type", "text!", "'single'::text"),
        count("step_index"),
        count("deps_count"),
        *((f"opt_{n}", "integer", None) for n in ("max_attempts", "base_delay", "timeout")),
        ("opt_start_delay", "integer", None),
        ("required_input_pattern", "jsonb", None),
        ("forbidden_input_pattern", "jsonb", None),
        ("when_unmet", "text!", "'skip'::text"),
        ("when_exhausted", "text!", "'fail'::text"),
        since("created_at"),
    ],
    "deps": [*key("flow_slug", "dep_slug", "step_slug"), since("created_at")],
    "runs": [
        ("run_id", "uuid!", "gen_random_uuid()"),
        *key("flow_slug"),
        ("status", "text!", "'started'::text"),
        ("input", "jsonb!", None),
        ("output", "jsonb", None),
        count("remaining_steps"),
        since("started_at"),
        *times("completed_at", "failed_at"),
    ],
    "step_states": [
        *key("flow_slug", "step_slug"),
        ("run_id", "uuid!", None),
        ("status", "text!", "'created'::text"),
        ("remaining_tasks", "integer", None),
        ("initial_tasks", "integer", None),
        count("remaining_deps"),
        ("output", "jsonb", None),
        *text("error_message", "skip_reason"),
        since("created_at"),
        *times("started_at", "completed_at", "failed_at", "skipped_at"),
    ],
    "step_tasks": [
        *key("flow_slug", "step_slug"),
        ("run_id", "uuid!", None),
        ("message_id", "bigint!", None),
        count("task_index"),
        ("status", "text!", "'queued'::text"),
        count("attempts_count"),
        *text("error_message"),
        ("output", "jsonb", None),
        since("queued_at"),
        *times("started_at", "completed_at", "failed_at"),
        ("last_worker_id", "uuid", None),
        count("requeued_count"),
        *times("last_requeued_at", "permanently_stalled_at"),
    ],
    "workers": [
        ("worker_id", "uuid!", None),
        *key("queue_name", "function_name"),
        since("started_at"),
        *times("deprecated_at", "stopped_at"),
        since("last_heartbeat_at"),
    ],
    "worker_functions": [
        *key("function_name"),
        ("enabled", "boolean!", "true"),
        ("debounce", "interval!", "'00:00:06'::interval"),
        *times("last_invoked_at"),
        since("created_at"),
        since("updated_at"),
    ],
}

CHECKS: dict[str, set[str]] = {
    "flows": {
        "flows_pkey",
        "slug_is_valid",
        "opt_max_attempts_is_nonnegative",
        "opt_base_delay_is_nonnegative",
        "opt_timeout_is_positive",
    },
    "steps": {
        "steps_pkey",
        "steps_flow_slug_step_index_key",
        "steps_step_slug_check",
        "steps_step_type_check",
        "steps_deps_count_check",
        "opt_max_attempts_is_nonnegative",
        "opt_base_delay_is_nonnegative",
        "opt_timeout_is_positive",
        "opt_start_delay_is_nonnegative",
        "required_input_pattern_is_object",
        "forbidden_input_pattern_is_object",
        "when_unmet_is_valid",
        "when_exhausted_is_valid",
    },
    "deps": {"deps_pkey", "deps_check"},
    "runs": {
        "runs_pkey",
        "status_is_valid",
        "runs_remaining_steps_check",
        "completed_at_or_failed_at",
        "completed_at_is_after_started_at",
        "failed_at_is_after_started_at",
    },
    "step_states": {
        "step_states_pkey",
        "status_is_valid",
        "status_and_remaining_tasks_match",
        "remaining_tasks_state_consistency",
        "initial_tasks_known_when_started",
        "output_only_for_completed_or_null",
        "skip_reason_matches_status",
        "completed_at_or_failed_at_or_skipped_at",
        "started_at_is_after_created_at",
        "completed_at_is_after_started_at",
        "failed_at_is_after_started_at",
        "skipped_at_is_after_created_at",
        "step_states_initial_tasks_check",
        "step_states_remaining_deps_check",
    },
    "step_tasks": {
        "step_tasks_pkey",
        "valid_status",
        "output_valid_only_for_completed",
        "attempts_count_nonnegative",
        "completed_at_or_failed_at",
        "completed_at_is_after_queued_at",
        "failed_at_is_after_queued_at",
        "started_at_is_after_queued_at",
        "completed_at_is_after_started_at",
        "failed_at_is_after_started_at",
    },
    "workers": {"workers_pkey"},
    "worker_functions": {"worker_functions_pkey", "worker_functions_debounce_check"},
}

FOREIGN_KEYS: dict[str, set[str]] = {
    "steps": {"steps_flow_slug_fkey"},
    "deps": {
        "deps_flow_slug_fkey",
        "deps_flow_slug_dep_slug_fkey",
        "deps_flow_slug_step_slug_fkey",
    },
    "runs": {"runs_flow_slug_fkey"},
    "step_states": {
        "step_states_flow_slug_fkey",
        "step_states_run_id_fkey",
        "step_states_flow_slug_step_slug_fkey",
    },
    "step_tasks": {
        "step_tasks_flow_slug_fkey",
        "step_tasks_run_id_fkey",
        "step_tasks_run_id_step_slug_fkey",
        "step_tasks_last_worker_id_fkey",
    },
}

# each insert of a run, step or task would lock a hot row (docs/decisions); the functions keep them
LEFT_OUT = FOREIGN_KEYS["runs"] | FOREIGN_KEYS["step_states"] | FOREIGN_KEYS["step_tasks"]
