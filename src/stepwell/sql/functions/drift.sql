-- DRIFT: how what the database goes by differs from the code, and which live runs a deploy must reckon with. Locks: only
-- apply_options writes; it takes what ensure_flow takes.

-- The options that a version goes by, in the words of a shape; the first row, without a step, is what the definition says for
-- all of them. `deployed` is what the code said last: another value was tuned by hand.
create or replace function pgflow.stored_options(version int) returns table (step_slug text, options jsonb, deployed jsonb)
language sql stable set search_path = pg_catalog, pg_temp as $$
  select null::text, jsonb_strip_nulls(jsonb_build_object(
      'maxAttempts', f.opt_max_attempts, 'baseDelay', f.opt_base_delay, 'timeout', f.opt_timeout, 'maxDelay', f.opt_max_delay,
      'jitter', f.opt_jitter, 'maxCrashes', f.opt_max_crashes, 'backoff', f.opt_backoff, 'priority', f.opt_priority,
      'fairnessBy', f.opt_fairness_by, 'retention', f.opt_retention,
      'archive', nullif(f.opt_archive, false),
      'maxRunning', (select l.capacity from pgflow.limits l where l.kind = 'flow' and l.name = f.flow_slug))), f.deployed_options
  from pgflow.versions v join pgflow.flows f on f.flow_slug = v.flow_slug where v.version_id = stored_options.version
  union all
  select s.step_slug, jsonb_strip_nulls(jsonb_build_object(
      'maxAttempts', s.opt_max_attempts, 'baseDelay', s.opt_base_delay, 'timeout', s.opt_timeout, 'startDelay', s.opt_start_delay,
      'maxDelay', s.opt_max_delay, 'jitter', s.opt_jitter, 'backoff', s.opt_backoff, 'priority', s.opt_priority,
      'concurrency', s.opt_concurrency, 'concurrencyBy', s.opt_concurrency_by, 'rate', s.opt_rate, 'rateBy', s.opt_rate_by,
      'weight', s.opt_weight, 'signalTimeout', s.opt_signal_timeout)), s.deployed_options
  from pgflow.steps s where s.version_id = stored_options.version;
$$;

-- The code's options are what counts from now on, also where somebody tuned them in the table.
create or replace function pgflow.apply_options(shape jsonb, version int) returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
  update pgflow.flows f set deployed_options = null where f.flow_slug = shape ->> 'slug';
  update pgflow.steps s set deployed_options = null where s.version_id = apply_options.version;
  perform pgflow.apply_flow_options(shape);
  perform pgflow.apply_step_options(shape, version);
end
$$;

-- Every version that live runs are on, with how many there are. Reads all of runs: for people and their deploys.
create or replace function pgflow.live_versions()
returns table (flow_slug text, kind text, version_id int, version int, structure jsonb, live bigint)
language sql stable set search_path = pg_catalog, pg_temp as $$
  select v.flow_slug, f.kind, v.version_id, v.version, pgflow.structure_of(v.version_id), r.live
  from (select r.version_id, count(*) as live from pgflow.runs r where r.status = 'started' group by 1) r
  join pgflow.versions v on v.version_id = r.version_id
  join pgflow.flows f on f.flow_slug = v.flow_slug
  order by 1, 4;
$$;

-- A page of the live runs of a version, by id, behind the run `after`: where each stands, and what its code must be able to
-- read: a machine's state, a job's arguments.
create or replace function pgflow.live_runs(version int, after uuid default null, most int default 1000)
returns table (run_id uuid, started_at timestamptz, steps text[], payload jsonb)
language sql stable set search_path = pg_catalog, pg_temp as $$
  select r.run_id, r.started_at,
    array(select distinct t.step_slug from pgflow.step_tasks t where t.run_id = r.run_id and t.stage <> 'closed' order by 1),
    case r.kind when 'machine' then r.state when 'job' then r.input end
  from pgflow.runs r
  where r.version_id = live_runs.version and r.status = 'started' and (live_runs.after is null or r.run_id > live_runs.after)
  order by r.run_id limit live_runs.most;
$$;
