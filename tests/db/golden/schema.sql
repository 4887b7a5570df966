--
-- PostgreSQL database dump
--



SET statement_timeout = 0;
SET lock_timeout = 0;
SET idle_in_transaction_session_timeout = 0;
SET transaction_timeout = 0;
SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;
SELECT pg_catalog.set_config('search_path', '', false);
SET check_function_bodies = false;
SET xmloption = content;
SET client_min_messages = warning;
SET row_security = off;

--
-- Name: pgflow; Type: SCHEMA; Schema: -; Owner: -
--

CREATE SCHEMA pgflow;


--
-- Name: pgmq; Type: SCHEMA; Schema: -; Owner: -
--

CREATE SCHEMA pgmq;


--
-- Name: SCHEMA pgmq; Type: COMMENT; Schema: -; Owner: -
--

COMMENT ON SCHEMA pgmq IS 'Stepwell: message queues with the functions of pgmq';


--
-- Name: claimed_task; Type: TYPE; Schema: pgflow; Owner: -
--

CREATE TYPE pgflow.claimed_task AS (
	message_id bigint,
	claim_token bigint,
	run_id uuid,
	flow_slug text,
	version_id integer,
	step_slug text,
	task_index integer,
	attempt integer,
	max_attempts integer,
	timeout integer,
	started_at timestamp with time zone,
	input text,
	flow_input text,
	kind text,
	key text,
	crashes integer,
	signals text,
	children text,
	version integer
);


--
-- Name: entry; Type: TYPE; Schema: pgflow; Owner: -
--

CREATE TYPE pgflow.entry AS (
	message_id bigint,
	claim_token bigint,
	run_id uuid,
	version_id integer,
	step_slug text,
	task_index integer,
	attempt integer,
	started_at timestamp with time zone,
	can_fail_early boolean,
	verdict text,
	output jsonb,
	error_type text,
	error_message text,
	traceback text,
	delay double precision,
	round integer,
	kind text
);


--
-- Name: fired; Type: TYPE; Schema: pgflow; Owner: -
--

CREATE TYPE pgflow.fired AS (
	slot timestamp with time zone,
	run_id uuid,
	created boolean
);


--
-- Name: reason; Type: TYPE; Schema: pgflow; Owner: -
--

CREATE TYPE pgflow.reason AS (
	reason text,
	state text,
	step_slug text,
	tasks integer,
	since timestamp with time zone,
	until timestamp with time zone,
	message text,
	remedy text,
	facts jsonb
);


--
-- Name: run_listed; Type: TYPE; Schema: pgflow; Owner: -
--

CREATE TYPE pgflow.run_listed AS (
	run_id uuid,
	flow_slug text,
	kind text,
	version integer,
	status text,
	key text,
	started_at timestamp with time zone,
	ended_at timestamp with time zone,
	remaining_steps integer,
	failed_step text,
	error_message text,
	paused_at timestamp with time zone,
	parent_run_id uuid,
	tags text[],
	metadata jsonb
);


--
-- Name: run_place; Type: TYPE; Schema: pgflow; Owner: -
--

CREATE TYPE pgflow.run_place AS (
	at timestamp with time zone,
	id uuid
);


--
-- Name: run_summary; Type: TYPE; Schema: pgflow; Owner: -
--

CREATE TYPE pgflow.run_summary AS (
	run_id uuid,
	flow_slug text,
	kind text,
	version integer,
	status text,
	key text,
	started_at timestamp with time zone,
	ended_at timestamp with time zone,
	remaining_steps integer,
	failed_step text,
	error_message text,
	paused_at timestamp with time zone
);


--
-- Name: step_ref; Type: TYPE; Schema: pgflow; Owner: -
--

CREATE TYPE pgflow.step_ref AS (
	run_id uuid,
	version_id integer,
	step_slug text
);


--
-- Name: step_task_record; Type: TYPE; Schema: pgflow; Owner: -
--

CREATE TYPE pgflow.step_task_record AS (
	flow_slug text,
	run_id uuid,
	step_slug text,
	input jsonb,
	msg_id bigint,
	task_index integer,
	flow_input jsonb
);


--
-- Name: told; Type: TYPE; Schema: pgflow; Owner: -
--

CREATE TYPE pgflow.told AS (
	run_id uuid,
	event text,
	payload jsonb
);


--
-- Name: turn_row; Type: TYPE; Schema: pgflow; Owner: -
--

CREATE TYPE pgflow.turn_row AS (
	verdict text,
	queue text,
	message_id bigint,
	claim_token bigint,
	run_id uuid,
	flow_slug text,
	version_id integer,
	step_slug text,
	task_index integer,
	attempt integer,
	max_attempts integer,
	timeout integer,
	started_at timestamp with time zone,
	input text,
	flow_input text,
	kind text,
	key text,
	crashes integer,
	signals text,
	children text,
	version integer
);


--
-- Name: message_record; Type: TYPE; Schema: pgmq; Owner: -
--

CREATE TYPE pgmq.message_record AS (
	msg_id bigint,
	read_ct integer,
	enqueued_at timestamp with time zone,
	vt timestamp with time zone,
	message jsonb,
	headers jsonb
);


--
-- Name: metrics_result; Type: TYPE; Schema: pgmq; Owner: -
--

CREATE TYPE pgmq.metrics_result AS (
	queue_name text,
	queue_length bigint,
	newest_msg_age_sec integer,
	oldest_msg_age_sec integer,
	total_messages bigint,
	scrape_time timestamp with time zone,
	queue_visible_length bigint
);


--
-- Name: queue_record; Type: TYPE; Schema: pgmq; Owner: -
--

CREATE TYPE pgmq.queue_record AS (
	queue_name character varying,
	is_partitioned boolean,
	is_unlogged boolean,
	created_at timestamp with time zone
);


--
-- Name: _archive_task_message(uuid, text, integer); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: _cascade_force_skip_steps(uuid, text, text); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: _compare_flow_shapes(jsonb, jsonb); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: _create_flow_from_shape(text, jsonb); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: is_valid_slug(text); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: deps; Type: TABLE; Schema: pgflow; Owner: -
--

CREATE TABLE pgflow.deps (
    flow_slug text NOT NULL,
    dep_slug text NOT NULL,
    step_slug text NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    version_id integer NOT NULL,
    CONSTRAINT deps_check CHECK ((dep_slug <> step_slug))
);


--
-- Name: steps; Type: TABLE; Schema: pgflow; Owner: -
--

CREATE TABLE pgflow.steps (
    flow_slug text NOT NULL,
    step_slug text NOT NULL,
    step_type text DEFAULT 'single'::text NOT NULL,
    step_index integer DEFAULT 0 NOT NULL,
    deps_count integer DEFAULT 0 NOT NULL,
    opt_max_attempts integer,
    opt_base_delay integer,
    opt_timeout integer,
    opt_start_delay integer,
    required_input_pattern jsonb,
    forbidden_input_pattern jsonb,
    when_unmet text DEFAULT 'skip'::text NOT NULL,
    when_exhausted text DEFAULT 'fail'::text NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    version_id integer NOT NULL,
    takes_input boolean,
    opt_max_delay integer,
    opt_jitter real,
    deployed_options jsonb,
    is_initial boolean DEFAULT false NOT NULL,
    signal_name text,
    opt_signal_timeout double precision,
    opt_backoff text,
    opt_priority smallint,
    opt_concurrency text,
    opt_concurrency_by text[],
    opt_rate text,
    opt_rate_by text[],
    opt_weight double precision,
    CONSTRAINT forbidden_input_pattern_is_object CHECK (((forbidden_input_pattern IS NULL) OR (jsonb_typeof(forbidden_input_pattern) = 'object'::text))),
    CONSTRAINT opt_backoff_is_valid CHECK ((opt_backoff = ANY (ARRAY['exponential'::text, 'linear'::text, 'fixed'::text, 'custom'::text]))),
    CONSTRAINT opt_base_delay_is_nonnegative CHECK ((opt_base_delay >= 0)),
    CONSTRAINT opt_jitter_is_a_fraction CHECK (((opt_jitter >= (0)::double precision) AND (opt_jitter <= (1)::double precision))),
    CONSTRAINT opt_max_attempts_is_nonnegative CHECK ((opt_max_attempts >= 0)),
    CONSTRAINT opt_max_delay_is_nonnegative CHECK ((opt_max_delay >= 0)),
    CONSTRAINT opt_start_delay_is_nonnegative CHECK ((opt_start_delay >= 0)),
    CONSTRAINT opt_timeout_is_positive CHECK ((opt_timeout > 0)),
    CONSTRAINT required_input_pattern_is_object CHECK (((required_input_pattern IS NULL) OR (jsonb_typeof(required_input_pattern) = 'object'::text))),
    CONSTRAINT signal_steps_name_a_signal CHECK (((step_type = 'signal'::text) = (signal_name IS NOT NULL))),
    CONSTRAINT steps_deps_count_check CHECK ((deps_count >= 0)),
    CONSTRAINT steps_step_slug_check CHECK (pgflow.is_valid_slug(step_slug)),
    CONSTRAINT steps_step_type_check CHECK ((step_type = ANY (ARRAY['single'::text, 'map'::text, 'signal'::text, 'sleep'::text]))),
    CONSTRAINT when_exhausted_is_valid CHECK ((when_exhausted = ANY (ARRAY['fail'::text, 'skip'::text, 'skip-cascade'::text]))),
    CONSTRAINT when_unmet_is_valid CHECK ((when_unmet = ANY (ARRAY['fail'::text, 'skip'::text, 'skip-cascade'::text])))
);


--
-- Name: structure_of(integer); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: flows; Type: TABLE; Schema: pgflow; Owner: -
--

CREATE TABLE pgflow.flows (
    flow_slug text NOT NULL,
    opt_max_attempts integer DEFAULT 3 NOT NULL,
    opt_base_delay integer DEFAULT 1 NOT NULL,
    opt_timeout integer DEFAULT 60 NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    kind text DEFAULT 'flow'::text NOT NULL,
    version_id integer,
    opt_max_delay integer,
    opt_jitter real DEFAULT 0 NOT NULL,
    opt_max_crashes integer DEFAULT 3 NOT NULL,
    deployed_options jsonb,
    opt_backoff text DEFAULT 'exponential'::text NOT NULL,
    opt_priority smallint DEFAULT 0 NOT NULL,
    opt_fairness_by text[],
    opt_retention double precision,
    opt_archive boolean DEFAULT false NOT NULL,
    CONSTRAINT kind_is_valid CHECK ((kind = ANY (ARRAY['flow'::text, 'machine'::text, 'job'::text]))),
    CONSTRAINT opt_backoff_is_valid CHECK ((opt_backoff = ANY (ARRAY['exponential'::text, 'linear'::text, 'fixed'::text, 'custom'::text]))),
    CONSTRAINT opt_base_delay_is_nonnegative CHECK ((opt_base_delay >= 0)),
    CONSTRAINT opt_jitter_is_a_fraction CHECK (((opt_jitter >= (0)::double precision) AND (opt_jitter <= (1)::double precision))),
    CONSTRAINT opt_max_attempts_is_nonnegative CHECK ((opt_max_attempts >= 0)),
    CONSTRAINT opt_max_crashes_is_nonnegative CHECK ((opt_max_crashes >= 0)),
    CONSTRAINT opt_max_delay_is_nonnegative CHECK ((opt_max_delay >= 0)),
    CONSTRAINT opt_retention_is_nonnegative CHECK ((opt_retention >= (0)::double precision)),
    CONSTRAINT opt_timeout_is_positive CHECK ((opt_timeout > 0)),
    CONSTRAINT slug_is_valid CHECK (pgflow.is_valid_slug(flow_slug))
);


--
-- Name: _get_flow_shape(text); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: add_step(text, text, text[], integer, integer, integer, integer, text, jsonb, jsonb, text, text); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: add_steps(text, jsonb); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: add_version(text); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: admit_tasks(uuid, bigint[], integer, timestamp with time zone, text[]); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: advance_flows(pgflow.step_ref[], pgflow.step_ref[], pgflow.step_ref[], timestamp with time zone, uuid, text[], integer[], integer); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: after_ends(uuid[], timestamp with time zone); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: announce_tasks(text[]); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: apply_entries(pgflow.entry[], timestamp with time zone, uuid, text[], integer[], integer); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: limits; Type: TABLE; Schema: pgflow; Owner: -
--

CREATE TABLE pgflow.limits (
    kind text NOT NULL,
    name text NOT NULL,
    capacity integer NOT NULL,
    per_second double precision,
    CONSTRAINT capacity_is_positive CHECK ((capacity > 0)),
    CONSTRAINT kind_is_valid CHECK ((kind = ANY (ARRAY['concurrency'::text, 'rate'::text, 'queue'::text, 'flow'::text]))),
    CONSTRAINT rates_have_a_speed CHECK ((((kind = 'rate'::text) = (per_second IS NOT NULL)) AND (per_second > (0)::double precision)))
);


--
-- Name: apply_flow_options(jsonb); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: apply_options(jsonb, integer); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: apply_step_options(jsonb, integer); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: archive_document(uuid, bigint, integer); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: archive_transactional(text, bigint, integer); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: arm_jobs(pgflow.entry[], timestamp with time zone); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: arm_tasks(pgflow.entry[], timestamp with time zone, uuid, text[], integer[], integer); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: ask_again(uuid, integer, timestamp with time zone); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: begin_machines(pgflow.flows, integer, timestamp with time zone, uuid[], uuid[], jsonb[]); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: begin_runs(uuid[], integer, timestamp with time zone); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: beginning_with(text); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: block_tasks(bigint[], text[]); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: broadcast(pgflow.told[]); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: calculate_retry_delay(numeric, integer); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: can_broadcast(); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: cancel_run(uuid, text, text); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: cancel_runs(uuid[], text, text); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: capacity_of(text); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: cascade_complete_taskless_steps(uuid); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: cascade_resolve_conditions(uuid); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: charge_shares(bigint[]); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: check_inputs(text, integer, jsonb[]); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: check_kind(text, text); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: check_labels(jsonb, jsonb); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: check_limits(text[], text[], double precision[]); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: check_no_flow(text, text); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: check_payloads(jsonb[], text); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: runs; Type: TABLE; Schema: pgflow; Owner: -
--

CREATE TABLE pgflow.runs (
    run_id uuid DEFAULT gen_random_uuid() NOT NULL,
    flow_slug text NOT NULL,
    status text DEFAULT 'started'::text NOT NULL,
    input jsonb NOT NULL,
    output jsonb,
    remaining_steps integer DEFAULT 0 NOT NULL,
    started_at timestamp with time zone DEFAULT now() NOT NULL,
    completed_at timestamp with time zone,
    failed_at timestamp with time zone,
    version_id integer NOT NULL,
    kind text DEFAULT 'flow'::text NOT NULL,
    cancelled_at timestamp with time zone,
    error_message text,
    failed_step text,
    key text,
    key_guard text,
    priority smallint DEFAULT 0 NOT NULL,
    state jsonb,
    parent_run_id uuid,
    key_until timestamp with time zone,
    join_id bigint,
    on_parent_end text,
    origin_run_id uuid,
    origin_step text,
    paused_at timestamp with time zone,
    fairness_key text,
    fairness_weight real,
    tags text[],
    metadata jsonb,
    trace jsonb,
    CONSTRAINT completed_at_is_after_started_at CHECK ((completed_at >= started_at)),
    CONSTRAINT completed_at_or_failed_at CHECK ((num_nonnulls(completed_at, failed_at, cancelled_at) <= 1)),
    CONSTRAINT failed_at_is_after_started_at CHECK ((failed_at >= started_at)),
    CONSTRAINT fairness_weight_is_sane CHECK (((fairness_weight >= (0.001)::double precision) AND (fairness_weight <= (1000000)::double precision))),
    CONSTRAINT on_parent_end_is_valid CHECK ((on_parent_end = ANY (ARRAY['cancel'::text, 'keep'::text]))),
    CONSTRAINT runs_remaining_steps_check CHECK ((remaining_steps >= 0)),
    CONSTRAINT status_is_valid CHECK ((status = ANY (ARRAY['started'::text, 'completed'::text, 'failed'::text, 'cancelled'::text]))),
    CONSTRAINT trace_is_small CHECK (((trace IS NULL) OR ((jsonb_typeof(trace) = 'object'::text) AND (pg_column_size(trace) <= 16384))))
)
WITH (fillfactor='80');


--
-- Name: check_step_is_there(pgflow.runs); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: check_transaction(bigint); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: check_width(pgflow.step_ref[]); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: check_worker(uuid); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: checked_filters(jsonb); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: children_of(uuid, integer); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: chosen_letters(text, bigint[], integer); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: claim_tasks(uuid, text[], integer[], integer); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: cleanup_ensure_workers_logs(integer); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: close_messages(text, bigint[], integer[], text[], integer[], text[], text[], text[], uuid); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: close_runs(uuid[]); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: close_steps(pgflow.step_ref[]); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: close_tasks(pgflow.entry[], timestamp with time zone); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: commit_and_claim(uuid, bigint[], bigint[], text[], jsonb[], text[], text[], text[], text[], integer[], integer, boolean); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: commit_tasks(uuid, bigint[], bigint[], text[], jsonb[], text[], text[], text[], text[], integer[], integer); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: commit_transactional(uuid, bigint, bigint, text, jsonb, text, text, text); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: complete_empty(pgflow.step_ref[], timestamp with time zone); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: step_tasks; Type: TABLE; Schema: pgflow; Owner: -
--

CREATE TABLE pgflow.step_tasks (
    flow_slug text NOT NULL,
    run_id uuid NOT NULL,
    step_slug text NOT NULL,
    message_id bigint NOT NULL,
    task_index integer DEFAULT 0 NOT NULL,
    status text DEFAULT 'queued'::text NOT NULL,
    attempts_count integer DEFAULT 0 NOT NULL,
    error_message text,
    output jsonb,
    queued_at timestamp with time zone DEFAULT now() NOT NULL,
    started_at timestamp with time zone,
    completed_at timestamp with time zone,
    failed_at timestamp with time zone,
    last_worker_id uuid,
    requeued_count integer DEFAULT 0 NOT NULL,
    last_requeued_at timestamp with time zone,
    permanently_stalled_at timestamp with time zone,
    version_id integer NOT NULL,
    queue text NOT NULL,
    priority smallint DEFAULT 0 NOT NULL,
    stage text DEFAULT 'ready'::text NOT NULL,
    ready_at timestamp with time zone DEFAULT now() NOT NULL,
    claim_token bigint,
    input jsonb,
    concurrency_key text,
    rate_limit text,
    weight double precision,
    awaits text[],
    await_all boolean DEFAULT false NOT NULL,
    waiting boolean DEFAULT false NOT NULL,
    seen bigint[],
    join_id bigint,
    blocked_on text,
    promised boolean DEFAULT false NOT NULL,
    fairness_key text DEFAULT ''::text NOT NULL,
    fairness_weight real,
    read_ct integer DEFAULT 0 NOT NULL,
    CONSTRAINT attempts_count_nonnegative CHECK ((attempts_count >= 0)),
    CONSTRAINT completed_at_is_after_queued_at CHECK ((completed_at >= queued_at)),
    CONSTRAINT completed_at_is_after_started_at CHECK ((completed_at >= started_at)),
    CONSTRAINT completed_at_or_failed_at CHECK ((num_nonnulls(completed_at, failed_at) <= 1)),
    CONSTRAINT failed_at_is_after_queued_at CHECK ((failed_at >= queued_at)),
    CONSTRAINT failed_at_is_after_started_at CHECK ((failed_at >= started_at)),
    CONSTRAINT output_valid_only_for_completed CHECK (((output IS NULL) OR (status = ANY (ARRAY['completed'::text, 'failed'::text])))),
    CONSTRAINT running_has_a_token CHECK (((stage = 'running'::text) = (claim_token IS NOT NULL))),
    CONSTRAINT stage_is_valid CHECK ((stage = ANY (ARRAY['ready'::text, 'delayed'::text, 'blocked'::text, 'parked'::text, 'paused'::text, 'running'::text, 'closed'::text]))),
    CONSTRAINT started_at_is_after_queued_at CHECK ((started_at >= queued_at)),
    CONSTRAINT valid_status CHECK ((status = ANY (ARRAY['queued'::text, 'started'::text, 'completed'::text, 'failed'::text])))
)
WITH (fillfactor='85');


--
-- Name: complete_task(uuid, text, integer, jsonb); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: key_text(text); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: completed_by(text, text[], jsonb); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: conceal_flow(text); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: condition_met(uuid, pgflow.steps); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: copy_version(text, integer); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: count_dead_letters(integer); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: count_down(pgflow.step_ref[], integer[], timestamp with time zone); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: count_off(uuid, integer); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: count_tasks(text); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: create_flow(text, integer, integer, integer); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: create_version(jsonb); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: deadly_tasks(integer); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: delay_runs(uuid[], uuid[], jsonb[], timestamp with time zone); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: delete_flow(text, text); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: delete_flow_and_data(text); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: delete_run(uuid, text); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: delete_schedule(text, text); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: describe_tasks(bigint[]); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: drain_workers(uuid[], text); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: due_schedules(integer); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: duration_text(interval); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: end_archive(uuid, text, uuid[], timestamp with time zone[], double precision); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: end_lapsed_workers(timestamp with time zone); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: end_orphans(integer); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: end_runs(uuid[], timestamp with time zone); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: ended_run(uuid); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: ended_runs(uuid[]); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: ensure_flow(jsonb, boolean); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: ensure_flow_compiled(text, jsonb, boolean); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: ensure_limits(jsonb); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: ensure_machine(jsonb, boolean); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: ensure_machine_steps(jsonb, integer); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: ensure_queue(text); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: ensure_schedules(jsonb); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: ensure_workers(); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: entries_written(pgflow.entry[], bigint[]); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: events_between(text, text, bigint, integer); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: events_of(uuid[], bigint[], integer); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: exhaust_steps(pgflow.entry[], timestamp with time zone); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: explain_broken(pgflow.runs, bigint[]); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: explain_delayed(pgflow.runs, bigint[], timestamp with time zone); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: explain_end(pgflow.runs, timestamp with time zone); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: explain_gates(pgflow.runs, bigint[], timestamp with time zone); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: explain_lanes(pgflow.runs, bigint[], timestamp with time zone); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: explain_pause(pgflow.runs, timestamp with time zone); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: explain_run(uuid, integer); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: explain_running(pgflow.runs, bigint[], timestamp with time zone); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: explain_waiting(pgflow.runs, bigint[], timestamp with time zone); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: expose_flow(text); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: expose_flows(); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: extend_messages(text, bigint[], integer[], timestamp with time zone[], integer); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: fail_late(pgflow.step_tasks, text); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: fail_steps(pgflow.step_ref[], text[], timestamp with time zone); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: fail_task(uuid, text, integer, text); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: fail_violations(pgflow.step_ref[], integer[], timestamp with time zone); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: find_run(text); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: finds_inputs(); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: finish_joins(bigint[], timestamp with time zone); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: fire_schedule(text, timestamp with time zone, timestamp with time zone[], timestamp with time zone, jsonb); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: fire_schedules(jsonb); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: flow_exists(text); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: flow_named(text); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: flow_of_queue(text); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: foreign_queue_for_flow(text); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: forget_archived(uuid[], timestamp with time zone[]); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: forget_dead_letters(text, bigint[], integer, text); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: forget_runs(uuid[]); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: forget_shares(); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: forget_workers(timestamp with time zone, integer); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: free_keys(uuid[], timestamp with time zone); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: free_lost_slots(); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: free_slots(bigint[]); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: free_strays(uuid, bigint[]); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: gate_text(text); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: get_run(uuid); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: get_run_with_states(uuid); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: get_runs(uuid[]); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: handed_signals(uuid, text[], bigint[]); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: has_function(text, text); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: has_signals(uuid, text[], boolean, bigint[]); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: headers_of_functions(); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: workers; Type: TABLE; Schema: pgflow; Owner: -
--

CREATE TABLE pgflow.workers (
    worker_id uuid NOT NULL,
    queue_name text NOT NULL,
    function_name text NOT NULL,
    started_at timestamp with time zone DEFAULT now() NOT NULL,
    deprecated_at timestamp with time zone,
    stopped_at timestamp with time zone,
    last_heartbeat_at timestamp with time zone DEFAULT now() NOT NULL,
    last_heartbeat timestamp with time zone GENERATED ALWAYS AS (last_heartbeat_at) STORED,
    lease interval,
    host text,
    pid integer,
    lane_queues text[],
    lane_versions integer[],
    concurrency integer,
    clock_ahead double precision
)
WITH (fillfactor='50');


--
-- Name: health_of(pgflow.workers); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: heartbeat(uuid); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: hide_tasks(text, bigint[], timestamp with time zone[], integer[]); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: hold_flow(text); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: hold_queue(text); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: hold_run(uuid); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: holders_of(text, timestamp with time zone); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: insert_tasks(pgflow.step_ref[], timestamp with time zone, uuid, text[], integer[], integer); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: is_beating(pgflow.workers); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: is_local(); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: is_over(text, integer, integer, integer, integer); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: is_served(text); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: is_swept(); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: joined_by(bigint, integer); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: judge_entries(bigint[], bigint[], text[], jsonb[], text[], text[], text[]); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: judge_ready(pgflow.step_ref[]); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: keep_archive(); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: keep_listening(uuid[], interval); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: keep_messages(text, bigint[], text); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: keep_tags(); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: kept_runs(double precision); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: label_run(uuid, text[], text[], jsonb, text); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: labels_of(bigint[]); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: lanes_of(text); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: lanes_with_work(text[], integer[]); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: late_timers(interval); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: leave(uuid); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: limited_by_none_but(text[], bigint[]); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: audit; Type: TABLE; Schema: pgflow; Owner: -
--

CREATE TABLE pgflow.audit (
    audit_id bigint NOT NULL,
    at timestamp with time zone NOT NULL,
    actor text NOT NULL,
    action text NOT NULL,
    kind text NOT NULL,
    target text NOT NULL,
    run_id uuid,
    detail jsonb
);


--
-- Name: list_audit(uuid, integer); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: dead_letters; Type: TABLE; Schema: pgflow; Owner: -
--

CREATE TABLE pgflow.dead_letters (
    dead_letter_id bigint NOT NULL,
    queue text NOT NULL,
    msg_id bigint NOT NULL,
    read_ct integer NOT NULL,
    enqueued_at timestamp with time zone NOT NULL,
    died_at timestamp with time zone NOT NULL,
    message jsonb,
    headers jsonb,
    error_type text NOT NULL,
    error_message text NOT NULL,
    traceback text,
    worker_id uuid
);


--
-- Name: list_dead_letters(text, bigint, integer); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: list_flows(); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: list_queues(integer); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: list_runs(text, text, uuid, integer, text); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: schedules; Type: TABLE; Schema: pgflow; Owner: -
--

CREATE TABLE pgflow.schedules (
    name text NOT NULL,
    flow_slug text NOT NULL,
    kind text DEFAULT 'flow'::text NOT NULL,
    version integer,
    input jsonb DEFAULT 'null'::jsonb NOT NULL,
    spec jsonb NOT NULL,
    overlap text DEFAULT 'skip'::text NOT NULL,
    catch_up text DEFAULT 'one'::text NOT NULL,
    options jsonb DEFAULT '{}'::jsonb NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    paused_at timestamp with time zone,
    resumed_at timestamp with time zone,
    next_at timestamp with time zone NOT NULL,
    last_slot timestamp with time zone,
    last_run_id uuid,
    live uuid[] DEFAULT '{}'::uuid[] NOT NULL,
    waiting timestamp with time zone[] DEFAULT '{}'::timestamp with time zone[] NOT NULL,
    error_message text,
    deployed jsonb,
    CONSTRAINT catch_up_is_valid CHECK ((catch_up = ANY (ARRAY['none'::text, 'one'::text, 'all'::text]))),
    CONSTRAINT kind_is_valid CHECK ((kind = ANY (ARRAY['flow'::text, 'machine'::text, 'job'::text]))),
    CONSTRAINT name_is_valid CHECK (pgflow.is_valid_slug(name)),
    CONSTRAINT overlap_is_valid CHECK ((overlap = ANY (ARRAY['skip'::text, 'queue'::text, 'allow'::text])))
)
WITH (fillfactor='50');


--
-- Name: list_schedules(text); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: listen_to(uuid, uuid, interval); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: live_runs(integer, uuid, integer); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: live_versions(); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: lock_messages(text, bigint[], integer[], timestamp with time zone[], timestamp with time zone); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: lock_run(uuid); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: lock_runs_of(bigint[], text[], boolean); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: lock_schedule(text); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: lock_trees(uuid[]); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: lock_with_parent(uuid); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: log_attempts(pgflow.entry[], timestamp with time zone); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: make_views(text, text); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: now(); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: mark_worker_stopped(uuid); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: may_go(uuid[], timestamp with time zone, timestamp with time zone); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: maybe_complete_run(uuid); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: measure(integer, integer); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: message_of(text, uuid, text, integer); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: message_queues(integer); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: message_state(text, bigint, integer); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: messages_of(bigint[]); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: moment_in(jsonb); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: move_message(); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: move_runs(pgflow.entry[], timestamp with time zone, uuid, text[], integer[], integer); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: names_in(jsonb); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: need_extension(boolean, text, text); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: new_run_id(); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: next_message_at(text[]); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: next_schedule(); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: no_queue(text); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: note_pruned(text, timestamp with time zone, integer, text); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: observed_turn(uuid, bigint[], bigint[], text[], jsonb[], text[], text[], text[], text[], integer[], integer, boolean); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: old_runs(text, timestamp with time zone, integer, timestamp with time zone, uuid); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: open_gates(text[]); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: open_lanes(text[], integer[]); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: open_runs(integer); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: outputs_for(uuid, integer, text); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: owns_pgmq(); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: path_in(jsonb, text); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: pause_flow(text, text, text); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: pause_lanes(text, text, text, text); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: pause_queue(text, text, text); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: pause_run(uuid, text); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: pause_schedule(text, text); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: pay_wakes(); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: pick_fairly(text[], integer[], integer); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: pick_messages(text, integer, jsonb, timestamp with time zone); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: pick_tasks(text[], integer[], integer); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: place_of(jsonb); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: poll_for_tasks(text, integer, integer, integer, integer); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: promote_tasks(integer); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: prune(double precision, interval, integer); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: prune_audit(double precision, bigint, integer); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: prune_data_older_than(interval); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: prune_events(interval, integer); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: prune_runs(text, timestamp with time zone, integer, timestamp with time zone, uuid); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: pruning_state(); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: put_aside(bigint[], bigint[], bigint[]); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: queue_for_flow(text); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: queues_of(uuid[]); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: raise(text, text, text); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: rarest_tag(text[]); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: read_messages(text, integer, integer); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: read_tasks(text, integer, integer, jsonb); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: ready_lanes(integer); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: ready_queues(uuid); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: rearm_tasks(pgflow.runs, timestamp with time zone); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: receive_signals(bigint[], timestamp with time zone); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: reclaim_tasks(interval); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: refuse_archive(uuid, text, text, timestamp with time zone); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: refuse_tasks(uuid, text[], integer[], integer); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: refuse_width(text, text, integer, integer); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: refused_runs(integer); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: register_worker(uuid, text, text[], double precision, text, integer); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: release_children(pgflow.step_ref[]); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: release_held(uuid, bigint[]); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: release_tasks(bigint[], bigint[]); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: reopen_steps(uuid); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: repeat_flow(pgflow.runs, text, uuid, timestamp with time zone); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: repeat_run(pgflow.runs, text, uuid); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: requeue_lost(timestamp with time zone, interval); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: requeue_stalled_tasks(); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: resend_dead_letters(text, bigint[], integer, text); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: resolve_wave(pgflow.step_ref[], timestamp with time zone); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: restart_run(uuid, text, uuid, text); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: resume_flow(text, text); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: resume_lanes(text, text, text); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: resume_queue(text, text); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: resume_run(uuid, text); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: resume_schedule(text, text); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: retentions(double precision); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: retry_delay(text, integer, integer, integer, real); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: retry_run(uuid, text); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: run_attempts(uuid, integer); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: run_document(uuid); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: run_logs(uuid, text, integer, integer, text[], integer, boolean, text, text, text, bigint); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: run_payload(pgflow.runs); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: run_progress(uuid, integer); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: run_started_as(uuid, text, text, jsonb); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: run_steps(uuid); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: runs_between(uuid, uuid, integer); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: runs_condition(jsonb); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: runs_of_flows(text, text); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: runs_range(jsonb, text); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: runs_source(jsonb, text, text, boolean); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: runs_to_archive(text, timestamp with time zone, integer, timestamp with time zone, uuid, integer, interval); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: runs_without_tasks(integer); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: schedule_job(text, text, text); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: search_runs(jsonb, integer); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: seat_tasks(uuid, bigint[], bigint[]); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: secret_named(text); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: send_messages(text, jsonb[], jsonb[], double precision); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: send_signal(uuid, text, text, jsonb, text); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: serve_lanes(uuid, text[], text[], integer[], integer, timestamp with time zone); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: serve_queues(uuid, text[]); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: service_of(text, integer); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: set_payload_limits(integer, integer); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: set_priority(uuid, integer, text); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: set_vt_batch(text, bigint[], integer[]); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: settle_moved(pgflow.entry[], timestamp with time zone); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: settle_runs(pgflow.step_ref[], timestamp with time zone); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: setup_ensure_workers_cron(text); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: setup_requeue_stalled_tasks_cron(text); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: share_of(real); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: share_queues(uuid[]); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: shell_word(text); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: signals_of(uuid, integer, boolean); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: site_of_functions(); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: skip_below(pgflow.step_ref[], timestamp with time zone); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: skip_steps(pgflow.step_ref[], text, timestamp with time zone, text[]); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: slot_key(text, timestamp with time zone); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: somebody_listens(); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: spawn_children(pgflow.entry[], timestamp with time zone); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: spawn_from_steps(pgflow.entry[], timestamp with time zone); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: stalled_tasks(timestamp with time zone, interval); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: stand_in_line(bigint[], timestamp with time zone); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: standing_of(bigint); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: start_a_worker(); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: start_flow(text, jsonb, uuid); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: start_flow_with_states(text, jsonb, uuid); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: start_ready_steps(uuid); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: start_runs(text, jsonb[], uuid[], text[], integer, jsonb[]); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: start_slots(pgflow.schedules, timestamp with time zone[]); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: start_steps(pgflow.step_ref[], timestamp with time zone, uuid, text[], integer[], integer); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: start_tasks(text, bigint[], uuid); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: startable_tasks(text, bigint[]); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: step_differences(jsonb, jsonb); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: step_states; Type: TABLE; Schema: pgflow; Owner: -
--

CREATE TABLE pgflow.step_states (
    flow_slug text NOT NULL,
    run_id uuid NOT NULL,
    step_slug text NOT NULL,
    status text DEFAULT 'created'::text NOT NULL,
    remaining_tasks integer,
    initial_tasks integer,
    remaining_deps integer DEFAULT 0 NOT NULL,
    output jsonb,
    error_message text,
    skip_reason text,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    started_at timestamp with time zone,
    completed_at timestamp with time zone,
    failed_at timestamp with time zone,
    skipped_at timestamp with time zone,
    CONSTRAINT completed_at_is_after_started_at CHECK ((completed_at >= started_at)),
    CONSTRAINT completed_at_or_failed_at_or_skipped_at CHECK ((num_nonnulls(completed_at, failed_at, skipped_at) <= 1)),
    CONSTRAINT failed_at_is_after_started_at CHECK ((failed_at >= started_at)),
    CONSTRAINT initial_tasks_known_when_started CHECK (((status <> 'started'::text) OR (initial_tasks IS NOT NULL))),
    CONSTRAINT output_only_for_completed_or_null CHECK (((output IS NULL) OR (status = 'completed'::text))),
    CONSTRAINT remaining_tasks_state_consistency CHECK (((remaining_tasks IS NULL) OR (status <> ALL (ARRAY['created'::text, 'skipped'::text])))),
    CONSTRAINT skip_reason_matches_status CHECK (((status = 'skipped'::text) = (skip_reason IS NOT NULL))),
    CONSTRAINT skipped_at_is_after_created_at CHECK ((skipped_at >= created_at)),
    CONSTRAINT started_at_is_after_created_at CHECK ((started_at >= created_at)),
    CONSTRAINT status_and_remaining_tasks_match CHECK (((status <> 'completed'::text) OR (remaining_tasks = 0))),
    CONSTRAINT status_is_valid CHECK ((status = ANY (ARRAY['created'::text, 'started'::text, 'completed'::text, 'failed'::text, 'skipped'::text]))),
    CONSTRAINT step_states_initial_tasks_check CHECK ((initial_tasks >= 0)),
    CONSTRAINT step_states_remaining_deps_check CHECK ((remaining_deps >= 0))
)
WITH (fillfactor='70');


--
-- Name: step_payload(pgflow.step_states, text); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: steps_below(integer, text[]); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: steps_to_keep(pgflow.runs, text); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: still_live(uuid[]); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: stop_listening(uuid[]); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: stored_options(integer); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: structure_in(jsonb); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: stuck_gates(interval, integer); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: tags_in(jsonb); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: take_archive(text[], uuid, double precision, interval, interval, integer, interval, integer); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: take_on(uuid, text[], integer[], integer, timestamp with time zone); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: take_tasks(uuid, bigint[], bigint[], timestamp with time zone); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: tasks_text(text, text, integer); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: tell(pgflow.told[]); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: tell_failures(pgflow.step_ref[], boolean); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: tell_present(uuid, text[]); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: tell_resolved(pgflow.step_ref[], pgflow.step_ref[], pgflow.step_ref[], pgflow.step_ref[]); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: tell_runs(text, uuid[]); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: tell_steps(text, pgflow.step_ref[]); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: texts_in(jsonb); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: track_worker_function(text); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: trees_of(uuid[]); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: trigger_schedule(text, uuid, text); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: troubled_schedules(interval); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: unarchived(interval, double precision); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: unclaimed_losses(interval); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: until_text(timestamp with time zone, timestamp with time zone); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: upsert_flow(jsonb, boolean, text); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: version_numbered(pgflow.flows, integer); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: versions_like(text[], integer[], integer[]); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: versions_of(text[]); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: waiting_messages(); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: signals; Type: TABLE; Schema: pgflow; Owner: -
--

CREATE TABLE pgflow.signals (
    signal_id bigint NOT NULL,
    run_id uuid NOT NULL,
    name text NOT NULL,
    payload jsonb DEFAULT 'null'::jsonb NOT NULL,
    dedup_key text,
    sent_at timestamp with time zone DEFAULT now() NOT NULL,
    consumed_at timestamp with time zone,
    CONSTRAINT name_is_not_empty CHECK ((name <> ''::text))
)
WITH (fillfactor='80');


--
-- Name: waiting_signals(uuid, text[]); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: wake_flows(text[]); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: wake_gates(text[]); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: wake_machine(uuid, text, timestamp with time zone); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: wake_stuck(text, integer); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: wake_waiting(text[]); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: want_input(jsonb); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: want_inputs(integer[], text[]); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: worker_clocks(double precision); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: worker_health(interval, integer); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: write_ahead(bigint, bigint, text, jsonb, uuid[]); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: write_audit(timestamp with time zone, text, text, text, text, uuid, jsonb); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: write_notes(bigint[], bigint[], real[], text[], double precision[], bigint[], integer[], double precision[], text[], text[]); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: write_one(uuid, text, integer, text, jsonb, text); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: write_outcomes(uuid, bigint[], bigint[], text[], jsonb[], text[], text[], text[], text[], integer[], integer, boolean, boolean); Type: FUNCTION; Schema: pgflow; Owner: -
--

--
-- Name: after(integer); Type: FUNCTION; Schema: pgmq; Owner: -
--

--
-- Name: announce(text[]); Type: FUNCTION; Schema: pgmq; Owner: -
--

--
-- Name: archive(text, bigint[]); Type: FUNCTION; Schema: pgmq; Owner: -
--

--
-- Name: archive(text, bigint); Type: FUNCTION; Schema: pgmq; Owner: -
--

--
-- Name: belongs_to_a_flow(text, bigint[], text); Type: FUNCTION; Schema: pgmq; Owner: -
--

--
-- Name: check_queue_name(text); Type: FUNCTION; Schema: pgmq; Owner: -
--

--
-- Name: create(text); Type: FUNCTION; Schema: pgmq; Owner: -
--

--
-- Name: create_non_partitioned(text); Type: FUNCTION; Schema: pgmq; Owner: -
--

--
-- Name: create_unlogged(text); Type: FUNCTION; Schema: pgmq; Owner: -
--

--
-- Name: delete(text, bigint[]); Type: FUNCTION; Schema: pgmq; Owner: -
--

--
-- Name: delete(text, bigint); Type: FUNCTION; Schema: pgmq; Owner: -
--

--
-- Name: disable_notify_insert(text); Type: FUNCTION; Schema: pgmq; Owner: -
--

--
-- Name: drop_queue(text); Type: FUNCTION; Schema: pgmq; Owner: -
--

--
-- Name: enable_notify_insert(text, integer); Type: FUNCTION; Schema: pgmq; Owner: -
--

--
-- Name: format_table_name(text, text); Type: FUNCTION; Schema: pgmq; Owner: -
--

--
-- Name: free_relation(text); Type: FUNCTION; Schema: pgmq; Owner: -
--

--
-- Name: front_of(text, integer); Type: FUNCTION; Schema: pgmq; Owner: -
--

--
-- Name: insert_messages(text, jsonb[], jsonb[], timestamp with time zone); Type: FUNCTION; Schema: pgmq; Owner: -
--

--
-- Name: meta; Type: TABLE; Schema: pgmq; Owner: -
--

CREATE TABLE pgmq.meta (
    queue_name character varying NOT NULL,
    is_partitioned boolean DEFAULT false NOT NULL,
    is_unlogged boolean DEFAULT false NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    relation text NOT NULL,
    flow_slug text
);


--
-- Name: list_queues(); Type: FUNCTION; Schema: pgmq; Owner: -
--

--
-- Name: make_queue(text, boolean); Type: FUNCTION; Schema: pgmq; Owner: -
--

--
-- Name: metrics(text); Type: FUNCTION; Schema: pgmq; Owner: -
--

--
-- Name: metrics_all(); Type: FUNCTION; Schema: pgmq; Owner: -
--

--
-- Name: notify_insert(); Type: FUNCTION; Schema: pgmq; Owner: -
--

--
-- Name: plain_queue(text, text, text); Type: FUNCTION; Schema: pgmq; Owner: -
--

--
-- Name: pop(text); Type: FUNCTION; Schema: pgmq; Owner: -
--

--
-- Name: purge_queue(text); Type: FUNCTION; Schema: pgmq; Owner: -
--

--
-- Name: queue_named(text); Type: FUNCTION; Schema: pgmq; Owner: -
--

--
-- Name: read(text, integer, integer, jsonb); Type: FUNCTION; Schema: pgmq; Owner: -
--

--
-- Name: read_with_poll(text, integer, integer, integer, integer, jsonb); Type: FUNCTION; Schema: pgmq; Owner: -
--

--
-- Name: relation_for(text, boolean); Type: FUNCTION; Schema: pgmq; Owner: -
--

--
-- Name: send(text, jsonb); Type: FUNCTION; Schema: pgmq; Owner: -
--

--
-- Name: send(text, jsonb, integer); Type: FUNCTION; Schema: pgmq; Owner: -
--

--
-- Name: send(text, jsonb, jsonb); Type: FUNCTION; Schema: pgmq; Owner: -
--

--
-- Name: send(text, jsonb, timestamp with time zone); Type: FUNCTION; Schema: pgmq; Owner: -
--

--
-- Name: send(text, jsonb, jsonb, integer); Type: FUNCTION; Schema: pgmq; Owner: -
--

--
-- Name: send(text, jsonb, jsonb, timestamp with time zone); Type: FUNCTION; Schema: pgmq; Owner: -
--

--
-- Name: send_batch(text, jsonb[]); Type: FUNCTION; Schema: pgmq; Owner: -
--

--
-- Name: send_batch(text, jsonb[], jsonb[]); Type: FUNCTION; Schema: pgmq; Owner: -
--

--
-- Name: send_batch(text, jsonb[], integer); Type: FUNCTION; Schema: pgmq; Owner: -
--

--
-- Name: send_batch(text, jsonb[], timestamp with time zone); Type: FUNCTION; Schema: pgmq; Owner: -
--

--
-- Name: send_batch(text, jsonb[], jsonb[], integer); Type: FUNCTION; Schema: pgmq; Owner: -
--

--
-- Name: send_batch(text, jsonb[], jsonb[], timestamp with time zone); Type: FUNCTION; Schema: pgmq; Owner: -
--

--
-- Name: set_vt(text, bigint, integer); Type: FUNCTION; Schema: pgmq; Owner: -
--

--
-- Name: announced; Type: TABLE; Schema: pgflow; Owner: -
--

CREATE TABLE pgflow.announced (
    flow_slug text NOT NULL
);


--
-- Name: archive_refusals; Type: TABLE; Schema: pgflow; Owner: -
--

CREATE TABLE pgflow.archive_refusals (
    run_id uuid NOT NULL,
    flow_slug text NOT NULL,
    message text NOT NULL,
    tries integer DEFAULT 1 NOT NULL,
    refused_at timestamp with time zone NOT NULL
);


--
-- Name: archiving; Type: TABLE; Schema: pgflow; Owner: -
--

CREATE TABLE pgflow.archiving (
    flow_slug text NOT NULL,
    worker_id uuid,
    held_until timestamp with time zone,
    started_at timestamp with time zone,
    run_id uuid,
    finished_at timestamp with time zone
);


--
-- Name: attempts; Type: TABLE; Schema: pgflow; Owner: -
--

CREATE TABLE pgflow.attempts (
    attempt_id bigint NOT NULL,
    run_id uuid NOT NULL,
    step_slug text NOT NULL,
    task_index integer NOT NULL,
    attempt integer NOT NULL,
    error_type text NOT NULL,
    error_message text NOT NULL,
    traceback text,
    worker_id uuid,
    started_at timestamp with time zone,
    failed_at timestamp with time zone NOT NULL
);


--
-- Name: attempts_attempt_id_seq; Type: SEQUENCE; Schema: pgflow; Owner: -
--

ALTER TABLE pgflow.attempts ALTER COLUMN attempt_id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME pgflow.attempts_attempt_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);


--
-- Name: audit_audit_id_seq; Type: SEQUENCE; Schema: pgflow; Owner: -
--

ALTER TABLE pgflow.audit ALTER COLUMN audit_id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME pgflow.audit_audit_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);


--
-- Name: buckets; Type: TABLE; Schema: pgflow; Owner: -
--

CREATE TABLE pgflow.buckets (
    key text NOT NULL,
    spent_until timestamp with time zone NOT NULL
)
WITH (fillfactor='50');


--
-- Name: claim_tokens; Type: SEQUENCE; Schema: pgflow; Owner: -
--

CREATE SEQUENCE pgflow.claim_tokens
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;


--
-- Name: dead_letters_dead_letter_id_seq; Type: SEQUENCE; Schema: pgflow; Owner: -
--

ALTER TABLE pgflow.dead_letters ALTER COLUMN dead_letter_id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME pgflow.dead_letters_dead_letter_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);


--
-- Name: events; Type: TABLE; Schema: pgflow; Owner: -
--

CREATE TABLE pgflow.events (
    event_id bigint NOT NULL,
    run_id uuid NOT NULL,
    event text NOT NULL,
    payload jsonb NOT NULL,
    at timestamp with time zone NOT NULL,
    xid xid8 DEFAULT pg_current_xact_id() NOT NULL
);


--
-- Name: events_event_id_seq; Type: SEQUENCE; Schema: pgflow; Owner: -
--

ALTER TABLE pgflow.events ALTER COLUMN event_id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME pgflow.events_event_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);


--
-- Name: fair_queues; Type: TABLE; Schema: pgflow; Owner: -
--

CREATE TABLE pgflow.fair_queues (
    queue text NOT NULL,
    virtual_time double precision DEFAULT 0 NOT NULL
)
WITH (fillfactor='50');


--
-- Name: joins; Type: TABLE; Schema: pgflow; Owner: -
--

CREATE TABLE pgflow.joins (
    join_id bigint NOT NULL,
    run_id uuid NOT NULL,
    message_id bigint NOT NULL,
    total integer NOT NULL,
    pending integer NOT NULL,
    completed integer DEFAULT 0 NOT NULL,
    failed integer DEFAULT 0 NOT NULL,
    quorum integer,
    policy text DEFAULT 'wait'::text NOT NULL,
    open boolean DEFAULT true NOT NULL,
    CONSTRAINT pending_is_right CHECK (((pending >= 0) AND (pending = ((total - completed) - failed)))),
    CONSTRAINT policy_is_valid CHECK ((policy = ANY (ARRAY['wait'::text, 'wake'::text, 'fail'::text])))
)
WITH (fillfactor='70');


--
-- Name: joins_join_id_seq; Type: SEQUENCE; Schema: pgflow; Owner: -
--

ALTER TABLE pgflow.joins ALTER COLUMN join_id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME pgflow.joins_join_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);


--
-- Name: lanes; Type: TABLE; Schema: pgflow; Owner: -
--

CREATE TABLE pgflow.lanes (
    queue text NOT NULL,
    version_id integer NOT NULL
);


--
-- Name: listeners; Type: TABLE; Schema: pgflow; Owner: -
--

CREATE TABLE pgflow.listeners (
    listener_id uuid NOT NULL,
    run_id uuid,
    until timestamp with time zone NOT NULL
);


--
-- Name: live_steps; Type: VIEW; Schema: pgflow; Owner: -
--

CREATE VIEW pgflow.live_steps AS
 SELECT r.run_id,
    r.flow_slug,
    s.step_slug,
    s.status,
    s.remaining_deps,
    s.remaining_tasks,
    t.task_index,
    t.stage,
    t.attempts_count,
    t.ready_at,
    t.last_worker_id
   FROM ((pgflow.runs r
     JOIN pgflow.step_states s ON (((s.run_id = r.run_id) AND (s.status = ANY (ARRAY['created'::text, 'started'::text])))))
     LEFT JOIN pgflow.step_tasks t ON (((t.run_id = s.run_id) AND (t.step_slug = s.step_slug) AND (t.stage <> 'closed'::text))))
  WHERE (r.status = 'started'::text);


--
-- Name: logs; Type: TABLE; Schema: pgflow; Owner: -
--

CREATE TABLE pgflow.logs (
    log_id bigint NOT NULL,
    run_id uuid NOT NULL,
    step_slug text NOT NULL,
    task_index integer NOT NULL,
    attempt integer NOT NULL,
    claim_token bigint NOT NULL,
    n integer NOT NULL,
    at timestamp with time zone NOT NULL,
    level text NOT NULL,
    message text NOT NULL,
    xid xid8 DEFAULT pg_current_xact_id() NOT NULL,
    CONSTRAINT level_is_valid CHECK ((level = ANY (ARRAY['debug'::text, 'info'::text, 'warning'::text, 'error'::text])))
);


--
-- Name: logs_log_id_seq; Type: SEQUENCE; Schema: pgflow; Owner: -
--

ALTER TABLE pgflow.logs ALTER COLUMN log_id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME pgflow.logs_log_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);


--
-- Name: orphans; Type: TABLE; Schema: pgflow; Owner: -
--

CREATE TABLE pgflow.orphans (
    parent_run_id uuid NOT NULL
);


--
-- Name: owed_wakes; Type: TABLE; Schema: pgflow; Owner: -
--

CREATE TABLE pgflow.owed_wakes (
    gate text NOT NULL,
    since timestamp with time zone NOT NULL
);


--
-- Name: pauses; Type: TABLE; Schema: pgflow; Owner: -
--

CREATE TABLE pgflow.pauses (
    kind text NOT NULL,
    name text NOT NULL,
    paused_at timestamp with time zone NOT NULL,
    reason text,
    CONSTRAINT kind_is_valid CHECK ((kind = ANY (ARRAY['queue'::text, 'flow'::text])))
);


--
-- Name: payload_limits; Type: TABLE; Schema: pgflow; Owner: -
--

CREATE TABLE pgflow.payload_limits (
    only_row boolean DEFAULT true NOT NULL,
    max_payload integer DEFAULT 134217728 NOT NULL,
    max_elements integer DEFAULT 1000000 NOT NULL,
    CONSTRAINT max_elements_is_sensible CHECK ((max_elements >= 10000)),
    CONSTRAINT max_payload_is_sensible CHECK (((max_payload >= 1048576) AND (max_payload <= 267386880))),
    CONSTRAINT payload_limits_has_one_row CHECK (only_row)
);


--
-- Name: progress; Type: TABLE; Schema: pgflow; Owner: -
--

CREATE TABLE pgflow.progress (
    run_id uuid NOT NULL,
    step_slug text NOT NULL,
    task_index integer NOT NULL,
    attempt integer NOT NULL,
    claim_token bigint NOT NULL,
    share real,
    message text,
    at timestamp with time zone NOT NULL,
    CONSTRAINT share_is_a_share CHECK (((share >= (0)::double precision) AND (share <= (1)::double precision)))
)
WITH (fillfactor='70');


--
-- Name: pruning; Type: TABLE; Schema: pgflow; Owner: -
--

CREATE TABLE pgflow.pruning (
    only_row boolean DEFAULT true NOT NULL,
    flow_slug text,
    started_at timestamp with time zone,
    run_id uuid,
    finished_at timestamp with time zone,
    CONSTRAINT there_is_one_row CHECK (only_row)
);


--
-- Name: run_tags; Type: TABLE; Schema: pgflow; Owner: -
--

CREATE TABLE pgflow.run_tags (
    tag text NOT NULL,
    started_at timestamp with time zone NOT NULL,
    run_id uuid NOT NULL
);


--
-- Name: shares; Type: TABLE; Schema: pgflow; Owner: -
--

CREATE TABLE pgflow.shares (
    queue text NOT NULL,
    fairness_key text NOT NULL,
    served double precision NOT NULL
)
WITH (fillfactor='50');


--
-- Name: signals_signal_id_seq; Type: SEQUENCE; Schema: pgflow; Owner: -
--

ALTER TABLE pgflow.signals ALTER COLUMN signal_id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME pgflow.signals_signal_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);


--
-- Name: slots; Type: TABLE; Schema: pgflow; Owner: -
--

CREATE TABLE pgflow.slots (
    gate text NOT NULL,
    slot integer NOT NULL,
    message_id bigint NOT NULL,
    claim_token bigint NOT NULL,
    worker_id uuid
)
WITH (fillfactor='50');


--
-- Name: step_tasks_message_id_seq; Type: SEQUENCE; Schema: pgflow; Owner: -
--

ALTER TABLE pgflow.step_tasks ALTER COLUMN message_id ADD GENERATED BY DEFAULT AS IDENTITY (
    SEQUENCE NAME pgflow.step_tasks_message_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);


--
-- Name: stepwell_migrations; Type: TABLE; Schema: pgflow; Owner: -
--

CREATE TABLE pgflow.stepwell_migrations (
    name text NOT NULL,
    checksum text NOT NULL,
    breaking boolean NOT NULL,
    applied_at timestamp with time zone DEFAULT now() NOT NULL
);


--
-- Name: stepwell_schema; Type: TABLE; Schema: pgflow; Owner: -
--

CREATE TABLE pgflow.stepwell_schema (
    only_row boolean DEFAULT true NOT NULL,
    library text NOT NULL,
    functions text NOT NULL,
    migrated_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT stepwell_schema_only_row_check CHECK (only_row)
);


--
-- Name: versions; Type: TABLE; Schema: pgflow; Owner: -
--

CREATE TABLE pgflow.versions (
    version_id integer NOT NULL,
    flow_slug text NOT NULL,
    version integer NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    queue text,
    can_fail_early boolean DEFAULT false NOT NULL
);


--
-- Name: versions_version_id_seq; Type: SEQUENCE; Schema: pgflow; Owner: -
--

ALTER TABLE pgflow.versions ALTER COLUMN version_id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME pgflow.versions_version_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);


--
-- Name: worker_functions; Type: TABLE; Schema: pgflow; Owner: -
--

CREATE TABLE pgflow.worker_functions (
    function_name text NOT NULL,
    enabled boolean DEFAULT true NOT NULL,
    debounce interval DEFAULT '00:00:06'::interval NOT NULL,
    last_invoked_at timestamp with time zone,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT worker_functions_debounce_check CHECK ((debounce >= '00:00:01'::interval))
);


--
-- Name: notify_insert_throttle; Type: TABLE; Schema: pgmq; Owner: -
--

CREATE TABLE pgmq.notify_insert_throttle (
    queue_name character varying NOT NULL,
    throttle_interval_ms integer DEFAULT 250 NOT NULL,
    last_notified_at timestamp with time zone DEFAULT '-infinity'::timestamp with time zone NOT NULL,
    callers integer DEFAULT 1 NOT NULL,
    CONSTRAINT throttle_is_nonnegative CHECK ((throttle_interval_ms >= 0))
)
WITH (fillfactor='50');


--
-- Name: announced announced_pkey; Type: CONSTRAINT; Schema: pgflow; Owner: -
--

ALTER TABLE ONLY pgflow.announced
    ADD CONSTRAINT announced_pkey PRIMARY KEY (flow_slug);


--
-- Name: archive_refusals archive_refusals_pkey; Type: CONSTRAINT; Schema: pgflow; Owner: -
--

ALTER TABLE ONLY pgflow.archive_refusals
    ADD CONSTRAINT archive_refusals_pkey PRIMARY KEY (run_id);


--
-- Name: archiving archiving_pkey; Type: CONSTRAINT; Schema: pgflow; Owner: -
--

ALTER TABLE ONLY pgflow.archiving
    ADD CONSTRAINT archiving_pkey PRIMARY KEY (flow_slug);


--
-- Name: attempts attempts_pkey; Type: CONSTRAINT; Schema: pgflow; Owner: -
--

ALTER TABLE ONLY pgflow.attempts
    ADD CONSTRAINT attempts_pkey PRIMARY KEY (attempt_id);


--
-- Name: audit audit_pkey; Type: CONSTRAINT; Schema: pgflow; Owner: -
--

ALTER TABLE ONLY pgflow.audit
    ADD CONSTRAINT audit_pkey PRIMARY KEY (audit_id);


--
-- Name: buckets buckets_pkey; Type: CONSTRAINT; Schema: pgflow; Owner: -
--

ALTER TABLE ONLY pgflow.buckets
    ADD CONSTRAINT buckets_pkey PRIMARY KEY (key);


--
-- Name: dead_letters dead_letters_pkey; Type: CONSTRAINT; Schema: pgflow; Owner: -
--

ALTER TABLE ONLY pgflow.dead_letters
    ADD CONSTRAINT dead_letters_pkey PRIMARY KEY (dead_letter_id);


--
-- Name: deps deps_pkey; Type: CONSTRAINT; Schema: pgflow; Owner: -
--

ALTER TABLE ONLY pgflow.deps
    ADD CONSTRAINT deps_pkey PRIMARY KEY (version_id, dep_slug, step_slug);


--
-- Name: events events_pkey; Type: CONSTRAINT; Schema: pgflow; Owner: -
--

ALTER TABLE ONLY pgflow.events
    ADD CONSTRAINT events_pkey PRIMARY KEY (run_id, event_id);


--
-- Name: fair_queues fair_queues_pkey; Type: CONSTRAINT; Schema: pgflow; Owner: -
--

ALTER TABLE ONLY pgflow.fair_queues
    ADD CONSTRAINT fair_queues_pkey PRIMARY KEY (queue);


--
-- Name: flows flows_pkey; Type: CONSTRAINT; Schema: pgflow; Owner: -
--

ALTER TABLE ONLY pgflow.flows
    ADD CONSTRAINT flows_pkey PRIMARY KEY (flow_slug);


--
-- Name: joins joins_pkey; Type: CONSTRAINT; Schema: pgflow; Owner: -
--

ALTER TABLE ONLY pgflow.joins
    ADD CONSTRAINT joins_pkey PRIMARY KEY (join_id);


--
-- Name: lanes lanes_pkey; Type: CONSTRAINT; Schema: pgflow; Owner: -
--

ALTER TABLE ONLY pgflow.lanes
    ADD CONSTRAINT lanes_pkey PRIMARY KEY (version_id, queue);


--
-- Name: limits limits_pkey; Type: CONSTRAINT; Schema: pgflow; Owner: -
--

ALTER TABLE ONLY pgflow.limits
    ADD CONSTRAINT limits_pkey PRIMARY KEY (kind, name);


--
-- Name: listeners listeners_pkey; Type: CONSTRAINT; Schema: pgflow; Owner: -
--

ALTER TABLE ONLY pgflow.listeners
    ADD CONSTRAINT listeners_pkey PRIMARY KEY (listener_id);


--
-- Name: logs logs_pkey; Type: CONSTRAINT; Schema: pgflow; Owner: -
--

ALTER TABLE ONLY pgflow.logs
    ADD CONSTRAINT logs_pkey PRIMARY KEY (run_id, claim_token, n);


--
-- Name: orphans orphans_pkey; Type: CONSTRAINT; Schema: pgflow; Owner: -
--

ALTER TABLE ONLY pgflow.orphans
    ADD CONSTRAINT orphans_pkey PRIMARY KEY (parent_run_id);


--
-- Name: pauses pauses_pkey; Type: CONSTRAINT; Schema: pgflow; Owner: -
--

ALTER TABLE ONLY pgflow.pauses
    ADD CONSTRAINT pauses_pkey PRIMARY KEY (kind, name);


--
-- Name: payload_limits payload_limits_pkey; Type: CONSTRAINT; Schema: pgflow; Owner: -
--

ALTER TABLE ONLY pgflow.payload_limits
    ADD CONSTRAINT payload_limits_pkey PRIMARY KEY (only_row);


--
-- Name: progress progress_pkey; Type: CONSTRAINT; Schema: pgflow; Owner: -
--

ALTER TABLE ONLY pgflow.progress
    ADD CONSTRAINT progress_pkey PRIMARY KEY (run_id, step_slug, task_index);


--
-- Name: pruning pruning_pkey; Type: CONSTRAINT; Schema: pgflow; Owner: -
--

ALTER TABLE ONLY pgflow.pruning
    ADD CONSTRAINT pruning_pkey PRIMARY KEY (only_row);


--
-- Name: run_tags run_tags_pkey; Type: CONSTRAINT; Schema: pgflow; Owner: -
--

ALTER TABLE ONLY pgflow.run_tags
    ADD CONSTRAINT run_tags_pkey PRIMARY KEY (tag, started_at, run_id);


--
-- Name: runs runs_pkey; Type: CONSTRAINT; Schema: pgflow; Owner: -
--

ALTER TABLE ONLY pgflow.runs
    ADD CONSTRAINT runs_pkey PRIMARY KEY (run_id);


--
-- Name: schedules schedules_pkey; Type: CONSTRAINT; Schema: pgflow; Owner: -
--

ALTER TABLE ONLY pgflow.schedules
    ADD CONSTRAINT schedules_pkey PRIMARY KEY (name);


--
-- Name: shares shares_pkey; Type: CONSTRAINT; Schema: pgflow; Owner: -
--

ALTER TABLE ONLY pgflow.shares
    ADD CONSTRAINT shares_pkey PRIMARY KEY (queue, fairness_key);


--
-- Name: signals signals_dedup_key; Type: CONSTRAINT; Schema: pgflow; Owner: -
--

ALTER TABLE ONLY pgflow.signals
    ADD CONSTRAINT signals_dedup_key UNIQUE (run_id, dedup_key);


--
-- Name: signals signals_pkey; Type: CONSTRAINT; Schema: pgflow; Owner: -
--

ALTER TABLE ONLY pgflow.signals
    ADD CONSTRAINT signals_pkey PRIMARY KEY (signal_id);


--
-- Name: slots slots_pkey; Type: CONSTRAINT; Schema: pgflow; Owner: -
--

ALTER TABLE ONLY pgflow.slots
    ADD CONSTRAINT slots_pkey PRIMARY KEY (gate, slot);


--
-- Name: step_states step_states_pkey; Type: CONSTRAINT; Schema: pgflow; Owner: -
--

ALTER TABLE ONLY pgflow.step_states
    ADD CONSTRAINT step_states_pkey PRIMARY KEY (run_id, step_slug);


--
-- Name: step_tasks step_tasks_pkey; Type: CONSTRAINT; Schema: pgflow; Owner: -
--

ALTER TABLE ONLY pgflow.step_tasks
    ADD CONSTRAINT step_tasks_pkey PRIMARY KEY (run_id, step_slug, task_index);


--
-- Name: steps steps_flow_slug_step_index_key; Type: CONSTRAINT; Schema: pgflow; Owner: -
--

ALTER TABLE ONLY pgflow.steps
    ADD CONSTRAINT steps_flow_slug_step_index_key UNIQUE (version_id, step_index);


--
-- Name: steps steps_pkey; Type: CONSTRAINT; Schema: pgflow; Owner: -
--

ALTER TABLE ONLY pgflow.steps
    ADD CONSTRAINT steps_pkey PRIMARY KEY (version_id, step_slug);


--
-- Name: stepwell_migrations stepwell_migrations_pkey; Type: CONSTRAINT; Schema: pgflow; Owner: -
--

ALTER TABLE ONLY pgflow.stepwell_migrations
    ADD CONSTRAINT stepwell_migrations_pkey PRIMARY KEY (name);


--
-- Name: stepwell_schema stepwell_schema_pkey; Type: CONSTRAINT; Schema: pgflow; Owner: -
--

ALTER TABLE ONLY pgflow.stepwell_schema
    ADD CONSTRAINT stepwell_schema_pkey PRIMARY KEY (only_row);


--
-- Name: versions versions_flow_slug_version_key; Type: CONSTRAINT; Schema: pgflow; Owner: -
--

ALTER TABLE ONLY pgflow.versions
    ADD CONSTRAINT versions_flow_slug_version_key UNIQUE (flow_slug, version);


--
-- Name: versions versions_pkey; Type: CONSTRAINT; Schema: pgflow; Owner: -
--

ALTER TABLE ONLY pgflow.versions
    ADD CONSTRAINT versions_pkey PRIMARY KEY (version_id);


--
-- Name: worker_functions worker_functions_pkey; Type: CONSTRAINT; Schema: pgflow; Owner: -
--

ALTER TABLE ONLY pgflow.worker_functions
    ADD CONSTRAINT worker_functions_pkey PRIMARY KEY (function_name);


--
-- Name: workers workers_pkey; Type: CONSTRAINT; Schema: pgflow; Owner: -
--

ALTER TABLE ONLY pgflow.workers
    ADD CONSTRAINT workers_pkey PRIMARY KEY (worker_id);


--
-- Name: meta meta_queue_name_key; Type: CONSTRAINT; Schema: pgmq; Owner: -
--

ALTER TABLE ONLY pgmq.meta
    ADD CONSTRAINT meta_queue_name_key UNIQUE (queue_name);


--
-- Name: meta meta_relation_key; Type: CONSTRAINT; Schema: pgmq; Owner: -
--

ALTER TABLE ONLY pgmq.meta
    ADD CONSTRAINT meta_relation_key UNIQUE (relation);


--
-- Name: notify_insert_throttle notify_insert_throttle_pkey; Type: CONSTRAINT; Schema: pgmq; Owner: -
--

ALTER TABLE ONLY pgmq.notify_insert_throttle
    ADD CONSTRAINT notify_insert_throttle_pkey PRIMARY KEY (queue_name);


--
-- Name: idx_attempts_run; Type: INDEX; Schema: pgflow; Owner: -
--

CREATE INDEX idx_attempts_run ON pgflow.attempts USING btree (run_id, step_slug, task_index);


--
-- Name: idx_audit_run; Type: INDEX; Schema: pgflow; Owner: -
--

CREATE INDEX idx_audit_run ON pgflow.audit USING btree (run_id, audit_id) WHERE (run_id IS NOT NULL);


--
-- Name: idx_dead_letters_queue; Type: INDEX; Schema: pgflow; Owner: -
--

CREATE INDEX idx_dead_letters_queue ON pgflow.dead_letters USING btree (queue, dead_letter_id);


--
-- Name: idx_deps_by_flow_step; Type: INDEX; Schema: pgflow; Owner: -
--

CREATE INDEX idx_deps_by_flow_step ON pgflow.deps USING btree (version_id, step_slug);


--
-- Name: idx_events_xid; Type: INDEX; Schema: pgflow; Owner: -
--

CREATE INDEX idx_events_xid ON pgflow.events USING btree (xid);


--
-- Name: idx_joins_run; Type: INDEX; Schema: pgflow; Owner: -
--

CREATE INDEX idx_joins_run ON pgflow.joins USING btree (run_id);


--
-- Name: idx_logs_run; Type: INDEX; Schema: pgflow; Owner: -
--

CREATE INDEX idx_logs_run ON pgflow.logs USING btree (run_id, xid, log_id);


--
-- Name: idx_runs_cancelled; Type: INDEX; Schema: pgflow; Owner: -
--

CREATE INDEX idx_runs_cancelled ON pgflow.runs USING btree (flow_slug, started_at) WHERE (cancelled_at IS NOT NULL);


--
-- Name: idx_runs_failed; Type: INDEX; Schema: pgflow; Owner: -
--

CREATE INDEX idx_runs_failed ON pgflow.runs USING btree (flow_slug, started_at) WHERE (failed_at IS NOT NULL);


--
-- Name: idx_runs_flow_slug; Type: INDEX; Schema: pgflow; Owner: -
--

CREATE INDEX idx_runs_flow_slug ON pgflow.runs USING btree (flow_slug, started_at);


--
-- Name: idx_runs_join; Type: INDEX; Schema: pgflow; Owner: -
--

CREATE INDEX idx_runs_join ON pgflow.runs USING btree (join_id, run_id) WHERE (join_id IS NOT NULL);


--
-- Name: idx_runs_key; Type: INDEX; Schema: pgflow; Owner: -
--

CREATE UNIQUE INDEX idx_runs_key ON pgflow.runs USING btree (key_guard) WHERE (key_guard IS NOT NULL);


--
-- Name: idx_runs_keys; Type: INDEX; Schema: pgflow; Owner: -
--

CREATE INDEX idx_runs_keys ON pgflow.runs USING btree (key text_pattern_ops, started_at) WHERE (key IS NOT NULL);


--
-- Name: idx_runs_parent; Type: INDEX; Schema: pgflow; Owner: -
--

CREATE INDEX idx_runs_parent ON pgflow.runs USING btree (parent_run_id, run_id) WHERE (parent_run_id IS NOT NULL);


--
-- Name: idx_schedules_due; Type: INDEX; Schema: pgflow; Owner: -
--

CREATE INDEX idx_schedules_due ON pgflow.schedules USING btree (next_at) WHERE (paused_at IS NULL);


--
-- Name: idx_schedules_waiting; Type: INDEX; Schema: pgflow; Owner: -
--

CREATE INDEX idx_schedules_waiting ON pgflow.schedules USING btree (name) WHERE ((paused_at IS NULL) AND (waiting <> '{}'::timestamp with time zone[]));


--
-- Name: idx_signals_waiting; Type: INDEX; Schema: pgflow; Owner: -
--

CREATE INDEX idx_signals_waiting ON pgflow.signals USING btree (run_id, signal_id) WHERE (consumed_at IS NULL);


--
-- Name: idx_slots_claim; Type: INDEX; Schema: pgflow; Owner: -
--

CREATE INDEX idx_slots_claim ON pgflow.slots USING btree (claim_token);


--
-- Name: idx_slots_worker; Type: INDEX; Schema: pgflow; Owner: -
--

CREATE INDEX idx_slots_worker ON pgflow.slots USING btree (worker_id);


--
-- Name: idx_step_tasks_awaits; Type: INDEX; Schema: pgflow; Owner: -
--

CREATE INDEX idx_step_tasks_awaits ON pgflow.step_tasks USING btree (run_id) WHERE (awaits IS NOT NULL);


--
-- Name: idx_step_tasks_blocked; Type: INDEX; Schema: pgflow; Owner: -
--

CREATE INDEX idx_step_tasks_blocked ON pgflow.step_tasks USING btree (blocked_on, queue, version_id, priority, ready_at, message_id) WHERE (stage = 'blocked'::text);


--
-- Name: idx_step_tasks_delayed; Type: INDEX; Schema: pgflow; Owner: -
--

CREATE INDEX idx_step_tasks_delayed ON pgflow.step_tasks USING btree (ready_at) WHERE (stage = 'delayed'::text);


--
-- Name: idx_step_tasks_message_id; Type: INDEX; Schema: pgflow; Owner: -
--

CREATE UNIQUE INDEX idx_step_tasks_message_id ON pgflow.step_tasks USING btree (message_id);


--
-- Name: idx_step_tasks_parked; Type: INDEX; Schema: pgflow; Owner: -
--

CREATE INDEX idx_step_tasks_parked ON pgflow.step_tasks USING btree (run_id) WHERE (stage = 'parked'::text);


--
-- Name: idx_step_tasks_paused; Type: INDEX; Schema: pgflow; Owner: -
--

CREATE INDEX idx_step_tasks_paused ON pgflow.step_tasks USING btree (run_id) WHERE (stage = 'paused'::text);


--
-- Name: idx_step_tasks_promised; Type: INDEX; Schema: pgflow; Owner: -
--

CREATE INDEX idx_step_tasks_promised ON pgflow.step_tasks USING btree (rate_limit, ready_at) WHERE ((stage = 'delayed'::text) AND promised);


--
-- Name: idx_step_tasks_ready; Type: INDEX; Schema: pgflow; Owner: -
--

CREATE INDEX idx_step_tasks_ready ON pgflow.step_tasks USING btree (queue, version_id, fairness_key, priority, ready_at, message_id) WHERE (stage = 'ready'::text);


--
-- Name: idx_step_tasks_running; Type: INDEX; Schema: pgflow; Owner: -
--

CREATE INDEX idx_step_tasks_running ON pgflow.step_tasks USING btree (last_worker_id) WHERE (stage = 'running'::text);


--
-- Name: idx_steps_flow_slug; Type: INDEX; Schema: pgflow; Owner: -
--

CREATE INDEX idx_steps_flow_slug ON pgflow.steps USING btree (flow_slug, step_slug);


--
-- Name: idx_workers_live; Type: INDEX; Schema: pgflow; Owner: -
--

CREATE INDEX idx_workers_live ON pgflow.workers USING btree (worker_id) WHERE (stopped_at IS NULL);


--
-- Name: idx_workers_queue_name; Type: INDEX; Schema: pgflow; Owner: -
--

CREATE INDEX idx_workers_queue_name ON pgflow.workers USING btree (queue_name);


--
-- Name: runs tags_begin; Type: TRIGGER; Schema: pgflow; Owner: -
--

CREATE TRIGGER tags_begin AFTER INSERT ON pgflow.runs FOR EACH ROW WHEN ((new.tags IS NOT NULL)) EXECUTE FUNCTION pgflow.keep_tags();


--
-- Name: runs tags_change; Type: TRIGGER; Schema: pgflow; Owner: -
--

CREATE TRIGGER tags_change AFTER UPDATE OF tags, started_at ON pgflow.runs FOR EACH ROW WHEN (((old.tags IS DISTINCT FROM new.tags) OR (old.started_at IS DISTINCT FROM new.started_at))) EXECUTE FUNCTION pgflow.keep_tags();


--
-- Name: runs tags_end; Type: TRIGGER; Schema: pgflow; Owner: -
--

CREATE TRIGGER tags_end AFTER DELETE ON pgflow.runs FOR EACH ROW WHEN ((old.tags IS NOT NULL)) EXECUTE FUNCTION pgflow.keep_tags();


--
-- Name: deps deps_flow_slug_dep_slug_fkey; Type: FK CONSTRAINT; Schema: pgflow; Owner: -
--

ALTER TABLE ONLY pgflow.deps
    ADD CONSTRAINT deps_flow_slug_dep_slug_fkey FOREIGN KEY (version_id, dep_slug) REFERENCES pgflow.steps(version_id, step_slug);


--
-- Name: deps deps_flow_slug_fkey; Type: FK CONSTRAINT; Schema: pgflow; Owner: -
--

ALTER TABLE ONLY pgflow.deps
    ADD CONSTRAINT deps_flow_slug_fkey FOREIGN KEY (flow_slug) REFERENCES pgflow.flows(flow_slug);


--
-- Name: deps deps_flow_slug_step_slug_fkey; Type: FK CONSTRAINT; Schema: pgflow; Owner: -
--

ALTER TABLE ONLY pgflow.deps
    ADD CONSTRAINT deps_flow_slug_step_slug_fkey FOREIGN KEY (version_id, step_slug) REFERENCES pgflow.steps(version_id, step_slug);


--
-- Name: steps steps_flow_slug_fkey; Type: FK CONSTRAINT; Schema: pgflow; Owner: -
--

ALTER TABLE ONLY pgflow.steps
    ADD CONSTRAINT steps_flow_slug_fkey FOREIGN KEY (flow_slug) REFERENCES pgflow.flows(flow_slug);


--
-- Name: steps steps_version_id_fkey; Type: FK CONSTRAINT; Schema: pgflow; Owner: -
--

ALTER TABLE ONLY pgflow.steps
    ADD CONSTRAINT steps_version_id_fkey FOREIGN KEY (version_id) REFERENCES pgflow.versions(version_id);


--
-- Name: versions versions_flow_slug_fkey; Type: FK CONSTRAINT; Schema: pgflow; Owner: -
--

ALTER TABLE ONLY pgflow.versions
    ADD CONSTRAINT versions_flow_slug_fkey FOREIGN KEY (flow_slug) REFERENCES pgflow.flows(flow_slug);


--
-- Name: FUNCTION add_steps(slug text, steps jsonb); Type: ACL; Schema: pgflow; Owner: -
--

REVOKE ALL ON FUNCTION pgflow.add_steps(slug text, steps jsonb) FROM PUBLIC;


--
-- Name: FUNCTION admit_tasks(worker uuid, picked bigint[], most integer, at timestamp with time zone, INOUT held text[], OUT ids bigint[], OUT tokens bigint[], OUT moved integer, OUT contended boolean, OUT delayed boolean); Type: ACL; Schema: pgflow; Owner: -
--

REVOKE ALL ON FUNCTION pgflow.admit_tasks(worker uuid, picked bigint[], most integer, at timestamp with time zone, INOUT held text[], OUT ids bigint[], OUT tokens bigint[], OUT moved integer, OUT contended boolean, OUT delayed boolean) FROM PUBLIC;


--
-- Name: FUNCTION advance_flows(ready pgflow.step_ref[], finished pgflow.step_ref[], resolved pgflow.step_ref[], at timestamp with time zone, worker uuid, lane_queues text[], lane_versions integer[], want integer, OUT handed bigint[], OUT woken text[]); Type: ACL; Schema: pgflow; Owner: -
--

REVOKE ALL ON FUNCTION pgflow.advance_flows(ready pgflow.step_ref[], finished pgflow.step_ref[], resolved pgflow.step_ref[], at timestamp with time zone, worker uuid, lane_queues text[], lane_versions integer[], want integer, OUT handed bigint[], OUT woken text[]) FROM PUBLIC;


--
-- Name: FUNCTION after_ends(locked uuid[], at timestamp with time zone); Type: ACL; Schema: pgflow; Owner: -
--

REVOKE ALL ON FUNCTION pgflow.after_ends(locked uuid[], at timestamp with time zone) FROM PUBLIC;


--
-- Name: FUNCTION announce_tasks(flow_slugs text[]); Type: ACL; Schema: pgflow; Owner: -
--

REVOKE ALL ON FUNCTION pgflow.announce_tasks(flow_slugs text[]) FROM PUBLIC;


--
-- Name: FUNCTION apply_entries(entries pgflow.entry[], at timestamp with time zone, worker uuid, lane_queues text[], lane_versions integer[], want integer, OUT written bigint[], OUT handed bigint[], OUT woken text[]); Type: ACL; Schema: pgflow; Owner: -
--

REVOKE ALL ON FUNCTION pgflow.apply_entries(entries pgflow.entry[], at timestamp with time zone, worker uuid, lane_queues text[], lane_versions integer[], want integer, OUT written bigint[], OUT handed bigint[], OUT woken text[]) FROM PUBLIC;


--
-- Name: FUNCTION archive_document(run_id uuid, stored bigint, largest integer, OUT document json, OUT bytes integer, OUT reason text); Type: ACL; Schema: pgflow; Owner: -
--

REVOKE ALL ON FUNCTION pgflow.archive_document(run_id uuid, stored bigint, largest integer, OUT document json, OUT bytes integer, OUT reason text) FROM PUBLIC;


--
-- Name: FUNCTION arm_jobs(entries pgflow.entry[], at timestamp with time zone, OUT written bigint[], OUT woken text[]); Type: ACL; Schema: pgflow; Owner: -
--

REVOKE ALL ON FUNCTION pgflow.arm_jobs(entries pgflow.entry[], at timestamp with time zone, OUT written bigint[], OUT woken text[]) FROM PUBLIC;


--
-- Name: FUNCTION arm_tasks(entries pgflow.entry[], at timestamp with time zone, worker uuid, lane_queues text[], lane_versions integer[], want integer, OUT written bigint[], OUT handed bigint[], OUT woken text[], OUT old_tokens bigint[], OUT new_tokens bigint[]); Type: ACL; Schema: pgflow; Owner: -
--

REVOKE ALL ON FUNCTION pgflow.arm_tasks(entries pgflow.entry[], at timestamp with time zone, worker uuid, lane_queues text[], lane_versions integer[], want integer, OUT written bigint[], OUT handed bigint[], OUT woken text[], OUT old_tokens bigint[], OUT new_tokens bigint[]) FROM PUBLIC;


--
-- Name: FUNCTION ask_again(run uuid, version integer, at timestamp with time zone); Type: ACL; Schema: pgflow; Owner: -
--

REVOKE ALL ON FUNCTION pgflow.ask_again(run uuid, version integer, at timestamp with time zone) FROM PUBLIC;


--
-- Name: FUNCTION begin_machines(flow pgflow.flows, shape integer, at timestamp with time zone, fresh uuid[], ids uuid[], options jsonb[]); Type: ACL; Schema: pgflow; Owner: -
--

REVOKE ALL ON FUNCTION pgflow.begin_machines(flow pgflow.flows, shape integer, at timestamp with time zone, fresh uuid[], ids uuid[], options jsonb[]) FROM PUBLIC;


--
-- Name: FUNCTION begin_runs(fresh uuid[], version integer, at timestamp with time zone); Type: ACL; Schema: pgflow; Owner: -
--

REVOKE ALL ON FUNCTION pgflow.begin_runs(fresh uuid[], version integer, at timestamp with time zone) FROM PUBLIC;


--
-- Name: FUNCTION block_tasks(refused bigint[], gates text[]); Type: ACL; Schema: pgflow; Owner: -
--

REVOKE ALL ON FUNCTION pgflow.block_tasks(refused bigint[], gates text[]) FROM PUBLIC;


--
-- Name: FUNCTION broadcast(told pgflow.told[]); Type: ACL; Schema: pgflow; Owner: -
--

REVOKE ALL ON FUNCTION pgflow.broadcast(told pgflow.told[]) FROM PUBLIC;


--
-- Name: FUNCTION charge_shares(taken bigint[]); Type: ACL; Schema: pgflow; Owner: -
--

REVOKE ALL ON FUNCTION pgflow.charge_shares(taken bigint[]) FROM PUBLIC;


--
-- Name: FUNCTION check_inputs(flow_slug text, version integer, inputs jsonb[]); Type: ACL; Schema: pgflow; Owner: -
--

REVOKE ALL ON FUNCTION pgflow.check_inputs(flow_slug text, version integer, inputs jsonb[]) FROM PUBLIC;


--
-- Name: FUNCTION check_kind(slug text, kind text); Type: ACL; Schema: pgflow; Owner: -
--

REVOKE ALL ON FUNCTION pgflow.check_kind(slug text, kind text) FROM PUBLIC;


--
-- Name: FUNCTION check_labels(tags jsonb, metadata jsonb); Type: ACL; Schema: pgflow; Owner: -
--

REVOKE ALL ON FUNCTION pgflow.check_labels(tags jsonb, metadata jsonb) FROM PUBLIC;


--
-- Name: FUNCTION check_limits(gates text[], rates text[], weights double precision[]); Type: ACL; Schema: pgflow; Owner: -
--

REVOKE ALL ON FUNCTION pgflow.check_limits(gates text[], rates text[], weights double precision[]) FROM PUBLIC;


--
-- Name: FUNCTION check_payloads(payloads jsonb[], what text); Type: ACL; Schema: pgflow; Owner: -
--

REVOKE ALL ON FUNCTION pgflow.check_payloads(payloads jsonb[], what text) FROM PUBLIC;


--
-- Name: FUNCTION check_step_is_there(run pgflow.runs); Type: ACL; Schema: pgflow; Owner: -
--

REVOKE ALL ON FUNCTION pgflow.check_step_is_there(run pgflow.runs) FROM PUBLIC;


--
-- Name: FUNCTION check_width(ready pgflow.step_ref[]); Type: ACL; Schema: pgflow; Owner: -
--

REVOKE ALL ON FUNCTION pgflow.check_width(ready pgflow.step_ref[]) FROM PUBLIC;


--
-- Name: FUNCTION check_worker(id uuid); Type: ACL; Schema: pgflow; Owner: -
--

REVOKE ALL ON FUNCTION pgflow.check_worker(id uuid) FROM PUBLIC;


--
-- Name: FUNCTION checked_filters(filters jsonb); Type: ACL; Schema: pgflow; Owner: -
--

REVOKE ALL ON FUNCTION pgflow.checked_filters(filters jsonb) FROM PUBLIC;


--
-- Name: FUNCTION close_runs(ended uuid[]); Type: ACL; Schema: pgflow; Owner: -
--

REVOKE ALL ON FUNCTION pgflow.close_runs(ended uuid[]) FROM PUBLIC;


--
-- Name: FUNCTION close_steps(steps pgflow.step_ref[]); Type: ACL; Schema: pgflow; Owner: -
--

REVOKE ALL ON FUNCTION pgflow.close_steps(steps pgflow.step_ref[]) FROM PUBLIC;


--
-- Name: FUNCTION close_tasks(entries pgflow.entry[], at timestamp with time zone, OUT written bigint[], OUT done pgflow.step_ref[], OUT counts integer[], OUT exhausted pgflow.entry[]); Type: ACL; Schema: pgflow; Owner: -
--

REVOKE ALL ON FUNCTION pgflow.close_tasks(entries pgflow.entry[], at timestamp with time zone, OUT written bigint[], OUT done pgflow.step_ref[], OUT counts integer[], OUT exhausted pgflow.entry[]) FROM PUBLIC;


--
-- Name: FUNCTION condition_met(run uuid, step pgflow.steps); Type: ACL; Schema: pgflow; Owner: -
--

REVOKE ALL ON FUNCTION pgflow.condition_met(run uuid, step pgflow.steps) FROM PUBLIC;


--
-- Name: FUNCTION count_down(done pgflow.step_ref[], counts integer[], at timestamp with time zone); Type: ACL; Schema: pgflow; Owner: -
--

REVOKE ALL ON FUNCTION pgflow.count_down(done pgflow.step_ref[], counts integer[], at timestamp with time zone) FROM PUBLIC;


--
-- Name: FUNCTION end_runs(ended uuid[], at timestamp with time zone); Type: ACL; Schema: pgflow; Owner: -
--

REVOKE ALL ON FUNCTION pgflow.end_runs(ended uuid[], at timestamp with time zone) FROM PUBLIC;


--
-- Name: FUNCTION ensure_machine_steps(shape jsonb, version integer); Type: ACL; Schema: pgflow; Owner: -
--

REVOKE ALL ON FUNCTION pgflow.ensure_machine_steps(shape jsonb, version integer) FROM PUBLIC;


--
-- Name: FUNCTION entries_written(entries pgflow.entry[], written bigint[]); Type: ACL; Schema: pgflow; Owner: -
--

REVOKE ALL ON FUNCTION pgflow.entries_written(entries pgflow.entry[], written bigint[]) FROM PUBLIC;


--
-- Name: FUNCTION exhaust_steps(exhausted pgflow.entry[], at timestamp with time zone, OUT passed pgflow.step_ref[], OUT below pgflow.step_ref[]); Type: ACL; Schema: pgflow; Owner: -
--

REVOKE ALL ON FUNCTION pgflow.exhaust_steps(exhausted pgflow.entry[], at timestamp with time zone, OUT passed pgflow.step_ref[], OUT below pgflow.step_ref[]) FROM PUBLIC;


--
-- Name: FUNCTION fail_steps(steps pgflow.step_ref[], messages text[], at timestamp with time zone); Type: ACL; Schema: pgflow; Owner: -
--

REVOKE ALL ON FUNCTION pgflow.fail_steps(steps pgflow.step_ref[], messages text[], at timestamp with time zone) FROM PUBLIC;


--
-- Name: FUNCTION fail_violations(INOUT done pgflow.step_ref[], INOUT counts integer[], at timestamp with time zone); Type: ACL; Schema: pgflow; Owner: -
--

REVOKE ALL ON FUNCTION pgflow.fail_violations(INOUT done pgflow.step_ref[], INOUT counts integer[], at timestamp with time zone) FROM PUBLIC;


--
-- Name: FUNCTION finish_joins(join_ids bigint[], at timestamp with time zone); Type: ACL; Schema: pgflow; Owner: -
--

REVOKE ALL ON FUNCTION pgflow.finish_joins(join_ids bigint[], at timestamp with time zone) FROM PUBLIC;


--
-- Name: FUNCTION flow_named(slug text); Type: ACL; Schema: pgflow; Owner: -
--

REVOKE ALL ON FUNCTION pgflow.flow_named(slug text) FROM PUBLIC;


--
-- Name: FUNCTION foreign_queue_for_flow(slug text); Type: ACL; Schema: pgflow; Owner: -
--

REVOKE ALL ON FUNCTION pgflow.foreign_queue_for_flow(slug text) FROM PUBLIC;


--
-- Name: FUNCTION forget_runs(ids uuid[]); Type: ACL; Schema: pgflow; Owner: -
--

REVOKE ALL ON FUNCTION pgflow.forget_runs(ids uuid[]) FROM PUBLIC;


--
-- Name: FUNCTION free_slots(tokens bigint[]); Type: ACL; Schema: pgflow; Owner: -
--

REVOKE ALL ON FUNCTION pgflow.free_slots(tokens bigint[]) FROM PUBLIC;


--
-- Name: FUNCTION handed_signals(run uuid, names text[], given bigint[]); Type: ACL; Schema: pgflow; Owner: -
--

REVOKE ALL ON FUNCTION pgflow.handed_signals(run uuid, names text[], given bigint[]) FROM PUBLIC;


--
-- Name: FUNCTION headers_of_functions(); Type: ACL; Schema: pgflow; Owner: -
--

REVOKE ALL ON FUNCTION pgflow.headers_of_functions() FROM PUBLIC;


--
-- Name: FUNCTION hold_flow(flow_slug text); Type: ACL; Schema: pgflow; Owner: -
--

REVOKE ALL ON FUNCTION pgflow.hold_flow(flow_slug text) FROM PUBLIC;


--
-- Name: FUNCTION hold_run(id uuid); Type: ACL; Schema: pgflow; Owner: -
--

REVOKE ALL ON FUNCTION pgflow.hold_run(id uuid) FROM PUBLIC;


--
-- Name: FUNCTION insert_tasks(started pgflow.step_ref[], at timestamp with time zone, worker uuid, lane_queues text[], lane_versions integer[], want integer, OUT handed bigint[], OUT woken text[]); Type: ACL; Schema: pgflow; Owner: -
--

REVOKE ALL ON FUNCTION pgflow.insert_tasks(started pgflow.step_ref[], at timestamp with time zone, worker uuid, lane_queues text[], lane_versions integer[], want integer, OUT handed bigint[], OUT woken text[]) FROM PUBLIC;


--
-- Name: FUNCTION judge_entries(message_ids bigint[], tokens bigint[], outcomes text[], outputs jsonb[], error_types text[], error_messages text[], tracebacks text[]); Type: ACL; Schema: pgflow; Owner: -
--

REVOKE ALL ON FUNCTION pgflow.judge_entries(message_ids bigint[], tokens bigint[], outcomes text[], outputs jsonb[], error_types text[], error_messages text[], tracebacks text[]) FROM PUBLIC;


--
-- Name: FUNCTION lanes_with_work(lane_queues text[], lane_versions integer[], OUT queues text[], OUT versions integer[]); Type: ACL; Schema: pgflow; Owner: -
--

REVOKE ALL ON FUNCTION pgflow.lanes_with_work(lane_queues text[], lane_versions integer[], OUT queues text[], OUT versions integer[]) FROM PUBLIC;


--
-- Name: FUNCTION lock_run(run_id uuid); Type: ACL; Schema: pgflow; Owner: -
--

REVOKE ALL ON FUNCTION pgflow.lock_run(run_id uuid) FROM PUBLIC;


--
-- Name: FUNCTION lock_runs_of(message_ids bigint[], outcomes text[], patient boolean); Type: ACL; Schema: pgflow; Owner: -
--

REVOKE ALL ON FUNCTION pgflow.lock_runs_of(message_ids bigint[], outcomes text[], patient boolean) FROM PUBLIC;


--
-- Name: FUNCTION lock_schedule(name text); Type: ACL; Schema: pgflow; Owner: -
--

REVOKE ALL ON FUNCTION pgflow.lock_schedule(name text) FROM PUBLIC;


--
-- Name: FUNCTION lock_trees(roots uuid[]); Type: ACL; Schema: pgflow; Owner: -
--

REVOKE ALL ON FUNCTION pgflow.lock_trees(roots uuid[]) FROM PUBLIC;


--
-- Name: FUNCTION lock_with_parent(id uuid); Type: ACL; Schema: pgflow; Owner: -
--

REVOKE ALL ON FUNCTION pgflow.lock_with_parent(id uuid) FROM PUBLIC;


--
-- Name: FUNCTION make_views(slug text, relation text); Type: ACL; Schema: pgflow; Owner: -
--

REVOKE ALL ON FUNCTION pgflow.make_views(slug text, relation text) FROM PUBLIC;


--
-- Name: FUNCTION may_go(ids uuid[], before timestamp with time zone, at timestamp with time zone); Type: ACL; Schema: pgflow; Owner: -
--

REVOKE ALL ON FUNCTION pgflow.may_go(ids uuid[], before timestamp with time zone, at timestamp with time zone) FROM PUBLIC;


--
-- Name: FUNCTION move_runs(entries pgflow.entry[], at timestamp with time zone, worker uuid, lane_queues text[], lane_versions integer[], want integer, OUT written bigint[], OUT handed bigint[], OUT woken text[]); Type: ACL; Schema: pgflow; Owner: -
--

REVOKE ALL ON FUNCTION pgflow.move_runs(entries pgflow.entry[], at timestamp with time zone, worker uuid, lane_queues text[], lane_versions integer[], want integer, OUT written bigint[], OUT handed bigint[], OUT woken text[]) FROM PUBLIC;


--
-- Name: FUNCTION need_extension(is_there boolean, extension text, hint text); Type: ACL; Schema: pgflow; Owner: -
--

REVOKE ALL ON FUNCTION pgflow.need_extension(is_there boolean, extension text, hint text) FROM PUBLIC;


--
-- Name: FUNCTION no_queue(queue text); Type: ACL; Schema: pgflow; Owner: -
--

REVOKE ALL ON FUNCTION pgflow.no_queue(queue text) FROM PUBLIC;


--
-- Name: FUNCTION old_runs(flow_slug text, before timestamp with time zone, most integer, after_start timestamp with time zone, after_run uuid, OUT run_ids uuid[], OUT last_start timestamp with time zone, OUT last_run uuid); Type: ACL; Schema: pgflow; Owner: -
--

REVOKE ALL ON FUNCTION pgflow.old_runs(flow_slug text, before timestamp with time zone, most integer, after_start timestamp with time zone, after_run uuid, OUT run_ids uuid[], OUT last_start timestamp with time zone, OUT last_run uuid) FROM PUBLIC;


--
-- Name: FUNCTION open_lanes(lane_queues text[], lane_versions integer[], OUT queues text[], OUT versions integer[], OUT capped boolean, OUT fair boolean); Type: ACL; Schema: pgflow; Owner: -
--

REVOKE ALL ON FUNCTION pgflow.open_lanes(lane_queues text[], lane_versions integer[], OUT queues text[], OUT versions integer[], OUT capped boolean, OUT fair boolean) FROM PUBLIC;


--
-- Name: FUNCTION pause_lanes(kind text, name text, actor text, reason text); Type: ACL; Schema: pgflow; Owner: -
--

REVOKE ALL ON FUNCTION pgflow.pause_lanes(kind text, name text, actor text, reason text) FROM PUBLIC;


--
-- Name: FUNCTION pay_wakes(); Type: ACL; Schema: pgflow; Owner: -
--

REVOKE ALL ON FUNCTION pgflow.pay_wakes() FROM PUBLIC;


--
-- Name: FUNCTION pick_fairly(lane_queues text[], lane_versions integer[], want integer, OUT ids bigint[], OUT found_some boolean); Type: ACL; Schema: pgflow; Owner: -
--

REVOKE ALL ON FUNCTION pgflow.pick_fairly(lane_queues text[], lane_versions integer[], want integer, OUT ids bigint[], OUT found_some boolean) FROM PUBLIC;


--
-- Name: FUNCTION pick_messages(slug text, most integer, wanted jsonb, at timestamp with time zone, OUT ids bigint[], OUT shared boolean); Type: ACL; Schema: pgflow; Owner: -
--

REVOKE ALL ON FUNCTION pgflow.pick_messages(slug text, most integer, wanted jsonb, at timestamp with time zone, OUT ids bigint[], OUT shared boolean) FROM PUBLIC;


--
-- Name: FUNCTION pick_tasks(lane_queues text[], lane_versions integer[], want integer, OUT ids bigint[], OUT limited boolean, OUT shared boolean); Type: ACL; Schema: pgflow; Owner: -
--

REVOKE ALL ON FUNCTION pgflow.pick_tasks(lane_queues text[], lane_versions integer[], want integer, OUT ids bigint[], OUT limited boolean, OUT shared boolean) FROM PUBLIC;


--
-- Name: FUNCTION place_of(run jsonb); Type: ACL; Schema: pgflow; Owner: -
--

REVOKE ALL ON FUNCTION pgflow.place_of(run jsonb) FROM PUBLIC;


--
-- Name: FUNCTION put_aside(picked bigint[], taken bigint[], tokens bigint[]); Type: ACL; Schema: pgflow; Owner: -
--

REVOKE ALL ON FUNCTION pgflow.put_aside(picked bigint[], taken bigint[], tokens bigint[]) FROM PUBLIC;


--
-- Name: FUNCTION queue_for_flow(slug text); Type: ACL; Schema: pgflow; Owner: -
--

REVOKE ALL ON FUNCTION pgflow.queue_for_flow(slug text) FROM PUBLIC;


--
-- Name: FUNCTION raise(code text, message text, hint text); Type: ACL; Schema: pgflow; Owner: -
--

REVOKE ALL ON FUNCTION pgflow.raise(code text, message text, hint text) FROM PUBLIC;


--
-- Name: FUNCTION rearm_tasks(run pgflow.runs, at timestamp with time zone); Type: ACL; Schema: pgflow; Owner: -
--

REVOKE ALL ON FUNCTION pgflow.rearm_tasks(run pgflow.runs, at timestamp with time zone) FROM PUBLIC;


--
-- Name: FUNCTION receive_signals(listeners bigint[], at timestamp with time zone); Type: ACL; Schema: pgflow; Owner: -
--

REVOKE ALL ON FUNCTION pgflow.receive_signals(listeners bigint[], at timestamp with time zone) FROM PUBLIC;


--
-- Name: FUNCTION refuse_archive(run_id uuid, flow_slug text, message text, at timestamp with time zone); Type: ACL; Schema: pgflow; Owner: -
--

REVOKE ALL ON FUNCTION pgflow.refuse_archive(run_id uuid, flow_slug text, message text, at timestamp with time zone) FROM PUBLIC;


--
-- Name: FUNCTION refuse_width(flow_slug text, step_slug text, elements integer, most integer); Type: ACL; Schema: pgflow; Owner: -
--

REVOKE ALL ON FUNCTION pgflow.refuse_width(flow_slug text, step_slug text, elements integer, most integer) FROM PUBLIC;


--
-- Name: FUNCTION release_children(finished pgflow.step_ref[], OUT ready pgflow.step_ref[], OUT plain boolean); Type: ACL; Schema: pgflow; Owner: -
--

REVOKE ALL ON FUNCTION pgflow.release_children(finished pgflow.step_ref[], OUT ready pgflow.step_ref[], OUT plain boolean) FROM PUBLIC;


--
-- Name: FUNCTION reopen_steps(run uuid); Type: ACL; Schema: pgflow; Owner: -
--

REVOKE ALL ON FUNCTION pgflow.reopen_steps(run uuid) FROM PUBLIC;


--
-- Name: FUNCTION repeat_flow(origin pgflow.runs, from_step text, id uuid, at timestamp with time zone); Type: ACL; Schema: pgflow; Owner: -
--

REVOKE ALL ON FUNCTION pgflow.repeat_flow(origin pgflow.runs, from_step text, id uuid, at timestamp with time zone) FROM PUBLIC;


--
-- Name: FUNCTION repeat_run(origin pgflow.runs, from_step text, id uuid); Type: ACL; Schema: pgflow; Owner: -
--

REVOKE ALL ON FUNCTION pgflow.repeat_run(origin pgflow.runs, from_step text, id uuid) FROM PUBLIC;


--
-- Name: FUNCTION resolve_wave(ready pgflow.step_ref[], at timestamp with time zone, OUT starting pgflow.step_ref[], OUT passed pgflow.step_ref[], OUT below pgflow.step_ref[]); Type: ACL; Schema: pgflow; Owner: -
--

REVOKE ALL ON FUNCTION pgflow.resolve_wave(ready pgflow.step_ref[], at timestamp with time zone, OUT starting pgflow.step_ref[], OUT passed pgflow.step_ref[], OUT below pgflow.step_ref[]) FROM PUBLIC;


--
-- Name: FUNCTION resume_lanes(kind text, name text, actor text); Type: ACL; Schema: pgflow; Owner: -
--

REVOKE ALL ON FUNCTION pgflow.resume_lanes(kind text, name text, actor text) FROM PUBLIC;


--
-- Name: FUNCTION run_started_as(id uuid, key text, flow_slug text, input jsonb); Type: ACL; Schema: pgflow; Owner: -
--

REVOKE ALL ON FUNCTION pgflow.run_started_as(id uuid, key text, flow_slug text, input jsonb) FROM PUBLIC;


--
-- Name: FUNCTION runs_source(f jsonb, condition text, line text, few_open boolean); Type: ACL; Schema: pgflow; Owner: -
--

REVOKE ALL ON FUNCTION pgflow.runs_source(f jsonb, condition text, line text, few_open boolean) FROM PUBLIC;


--
-- Name: FUNCTION schedule_job(name text, at text, command text); Type: ACL; Schema: pgflow; Owner: -
--

REVOKE ALL ON FUNCTION pgflow.schedule_job(name text, at text, command text) FROM PUBLIC;


--
-- Name: FUNCTION seat_tasks(worker uuid, picked bigint[], drawn bigint[], OUT ids bigint[], OUT tokens bigint[], OUT refused bigint[], OUT refused_tokens bigint[], OUT refused_gates text[]); Type: ACL; Schema: pgflow; Owner: -
--

REVOKE ALL ON FUNCTION pgflow.seat_tasks(worker uuid, picked bigint[], drawn bigint[], OUT ids bigint[], OUT tokens bigint[], OUT refused bigint[], OUT refused_tokens bigint[], OUT refused_gates text[]) FROM PUBLIC;


--
-- Name: FUNCTION secret_named(name text); Type: ACL; Schema: pgflow; Owner: -
--

REVOKE ALL ON FUNCTION pgflow.secret_named(name text) FROM PUBLIC;


--
-- Name: FUNCTION settle_runs(resolved pgflow.step_ref[], at timestamp with time zone); Type: ACL; Schema: pgflow; Owner: -
--

REVOKE ALL ON FUNCTION pgflow.settle_runs(resolved pgflow.step_ref[], at timestamp with time zone) FROM PUBLIC;


--
-- Name: FUNCTION site_of_functions(); Type: ACL; Schema: pgflow; Owner: -
--

REVOKE ALL ON FUNCTION pgflow.site_of_functions() FROM PUBLIC;


--
-- Name: FUNCTION somebody_listens(); Type: ACL; Schema: pgflow; Owner: -
--

REVOKE ALL ON FUNCTION pgflow.somebody_listens() FROM PUBLIC;


--
-- Name: FUNCTION spawn_children(entries pgflow.entry[], at timestamp with time zone); Type: ACL; Schema: pgflow; Owner: -
--

REVOKE ALL ON FUNCTION pgflow.spawn_children(entries pgflow.entry[], at timestamp with time zone) FROM PUBLIC;


--
-- Name: FUNCTION spawn_from_steps(entries pgflow.entry[], at timestamp with time zone, OUT written bigint[], OUT woken text[]); Type: ACL; Schema: pgflow; Owner: -
--

REVOKE ALL ON FUNCTION pgflow.spawn_from_steps(entries pgflow.entry[], at timestamp with time zone, OUT written bigint[], OUT woken text[]) FROM PUBLIC;


--
-- Name: FUNCTION stand_in_line(ids bigint[], at timestamp with time zone); Type: ACL; Schema: pgflow; Owner: -
--

REVOKE ALL ON FUNCTION pgflow.stand_in_line(ids bigint[], at timestamp with time zone) FROM PUBLIC;


--
-- Name: FUNCTION start_steps(starting pgflow.step_ref[], at timestamp with time zone, worker uuid, lane_queues text[], lane_versions integer[], want integer, OUT handed bigint[], OUT woken text[]); Type: ACL; Schema: pgflow; Owner: -
--

REVOKE ALL ON FUNCTION pgflow.start_steps(starting pgflow.step_ref[], at timestamp with time zone, worker uuid, lane_queues text[], lane_versions integer[], want integer, OUT handed bigint[], OUT woken text[]) FROM PUBLIC;


--
-- Name: FUNCTION startable_tasks(slug text, msg_ids bigint[], OUT ids bigint[], OUT limited boolean); Type: ACL; Schema: pgflow; Owner: -
--

REVOKE ALL ON FUNCTION pgflow.startable_tasks(slug text, msg_ids bigint[], OUT ids bigint[], OUT limited boolean) FROM PUBLIC;


--
-- Name: FUNCTION steps_to_keep(origin pgflow.runs, from_step text, OUT passed text[], OUT cut text[]); Type: ACL; Schema: pgflow; Owner: -
--

REVOKE ALL ON FUNCTION pgflow.steps_to_keep(origin pgflow.runs, from_step text, OUT passed text[], OUT cut text[]) FROM PUBLIC;


--
-- Name: FUNCTION take_on(worker uuid, lane_queues text[], lane_versions integer[], want integer, at timestamp with time zone, OUT ids bigint[], OUT contended boolean, OUT delayed boolean); Type: ACL; Schema: pgflow; Owner: -
--

REVOKE ALL ON FUNCTION pgflow.take_on(worker uuid, lane_queues text[], lane_versions integer[], want integer, at timestamp with time zone, OUT ids bigint[], OUT contended boolean, OUT delayed boolean) FROM PUBLIC;


--
-- Name: FUNCTION take_tasks(worker uuid, ids bigint[], tokens bigint[], at timestamp with time zone); Type: ACL; Schema: pgflow; Owner: -
--

REVOKE ALL ON FUNCTION pgflow.take_tasks(worker uuid, ids bigint[], tokens bigint[], at timestamp with time zone) FROM PUBLIC;


--
-- Name: FUNCTION tell(told pgflow.told[]); Type: ACL; Schema: pgflow; Owner: -
--

REVOKE ALL ON FUNCTION pgflow.tell(told pgflow.told[]) FROM PUBLIC;


--
-- Name: FUNCTION tell_failures(steps pgflow.step_ref[], violated boolean); Type: ACL; Schema: pgflow; Owner: -
--

REVOKE ALL ON FUNCTION pgflow.tell_failures(steps pgflow.step_ref[], violated boolean) FROM PUBLIC;


--
-- Name: FUNCTION tell_present(run uuid, VARIADIC states text[]); Type: ACL; Schema: pgflow; Owner: -
--

REVOKE ALL ON FUNCTION pgflow.tell_present(run uuid, VARIADIC states text[]) FROM PUBLIC;


--
-- Name: FUNCTION tell_resolved(skipped pgflow.step_ref[], cascading pgflow.step_ref[], below pgflow.step_ref[], empty pgflow.step_ref[]); Type: ACL; Schema: pgflow; Owner: -
--

REVOKE ALL ON FUNCTION pgflow.tell_resolved(skipped pgflow.step_ref[], cascading pgflow.step_ref[], below pgflow.step_ref[], empty pgflow.step_ref[]) FROM PUBLIC;


--
-- Name: FUNCTION tell_runs(what text, run_ids uuid[]); Type: ACL; Schema: pgflow; Owner: -
--

REVOKE ALL ON FUNCTION pgflow.tell_runs(what text, run_ids uuid[]) FROM PUBLIC;


--
-- Name: FUNCTION tell_steps(what text, steps pgflow.step_ref[]); Type: ACL; Schema: pgflow; Owner: -
--

REVOKE ALL ON FUNCTION pgflow.tell_steps(what text, steps pgflow.step_ref[]) FROM PUBLIC;


--
-- Name: FUNCTION trees_of(roots uuid[]); Type: ACL; Schema: pgflow; Owner: -
--

REVOKE ALL ON FUNCTION pgflow.trees_of(roots uuid[]) FROM PUBLIC;


--
-- Name: FUNCTION version_numbered(flow pgflow.flows, number integer); Type: ACL; Schema: pgflow; Owner: -
--

REVOKE ALL ON FUNCTION pgflow.version_numbered(flow pgflow.flows, number integer) FROM PUBLIC;


--
-- Name: FUNCTION wake_gates(gates text[]); Type: ACL; Schema: pgflow; Owner: -
--

REVOKE ALL ON FUNCTION pgflow.wake_gates(gates text[]) FROM PUBLIC;


--
-- Name: FUNCTION wake_waiting(gates text[], OUT queues text[], OUT owed text[]); Type: ACL; Schema: pgflow; Owner: -
--

REVOKE ALL ON FUNCTION pgflow.wake_waiting(gates text[], OUT queues text[], OUT owed text[]) FROM PUBLIC;


--
-- Name: FUNCTION write_ahead(id bigint, token bigint, outcome text, document jsonb, held uuid[]); Type: ACL; Schema: pgflow; Owner: -
--

REVOKE ALL ON FUNCTION pgflow.write_ahead(id bigint, token bigint, outcome text, document jsonb, held uuid[]) FROM PUBLIC;


--
-- Name: FUNCTION write_one(run_id uuid, step_slug text, task_index integer, outcome text, output jsonb, error_message text); Type: ACL; Schema: pgflow; Owner: -
--

REVOKE ALL ON FUNCTION pgflow.write_one(run_id uuid, step_slug text, task_index integer, outcome text, output jsonb, error_message text) FROM PUBLIC;


--
-- Name: FUNCTION write_outcomes(worker uuid, message_ids bigint[], tokens bigint[], outcomes text[], outputs jsonb[], error_types text[], error_messages text[], tracebacks text[], lane_queues text[], lane_versions integer[], want integer, patient boolean, bodies_ended boolean, OUT written bigint[], OUT handed bigint[], OUT woken text[], OUT busy bigint[]); Type: ACL; Schema: pgflow; Owner: -
--

REVOKE ALL ON FUNCTION pgflow.write_outcomes(worker uuid, message_ids bigint[], tokens bigint[], outcomes text[], outputs jsonb[], error_types text[], error_messages text[], tracebacks text[], lane_queues text[], lane_versions integer[], want integer, patient boolean, bodies_ended boolean, OUT written bigint[], OUT handed bigint[], OUT woken text[], OUT busy bigint[]) FROM PUBLIC;


--
-- PostgreSQL database dump complete
--


