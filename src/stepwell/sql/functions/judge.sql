-- JUDGE: what an outcome means for its task: done, tried again and when, or out of attempts.
-- Nothing here writes.

-- What each outcome means for its task, as long as the token is still the task's. What a machine or a job says is
-- taken at its word; only a failure, and a step that is none, are judged.
create or replace function pgflow.judge_entries(
  message_ids bigint[], tokens bigint[], outcomes text[], outputs jsonb[],
  error_types text[], error_messages text[], tracebacks text[]
) returns pgflow.entry[]
language plpgsql stable as $$
begin
  return (
    with found as (
      select t.message_id, t.claim_token, t.run_id, t.version_id, t.step_slug, t.task_index, t.attempts_count, t.started_at,
        v.can_fail_early, f.kind, s.when_exhausted, coalesce(s.opt_max_attempts, f.opt_max_attempts) as max_attempts,
        case when b.bad_step is null and not w.wrong then e.outcome else 'failed' end as outcome, e.output,
        case when w.wrong then 'BadOutcome' when b.bad_step is null then e.error_type else 'UnknownStep' end as error_type,
        case when w.wrong then format('a %s does not say %s', f.kind, e.outcome) when b.bad_step is null then e.error_message
          else format('%s has no step %s: step %s cannot go on there', t.flow_slug, b.bad_step, t.step_slug) end as error_message,
        e.traceback,
        coalesce(
          case when e.outcome in ('failed', 'retry', 'next', 'snooze') then (e.output ->> 'delay')::float8 end,
          case when e.outcome in ('failed', 'retry') or b.bad_step is not null or w.wrong then pgflow.retry_delay(
            coalesce(s.opt_backoff, f.opt_backoff), coalesce(s.opt_base_delay, f.opt_base_delay), t.attempts_count,
            coalesce(s.opt_max_delay, f.opt_max_delay), coalesce(s.opt_jitter, f.opt_jitter)) end, 0) as delay,
        case when f.kind = 'machine' and e.output ? 'after_error' then pgflow.retry_delay(
            coalesce(s.opt_backoff, f.opt_backoff), coalesce(s.opt_base_delay, f.opt_base_delay), t.attempts_count,
            coalesce(s.opt_max_delay, f.opt_max_delay), coalesce(s.opt_jitter, f.opt_jitter)) end as least_delay
      from unnest(message_ids, tokens, outcomes, outputs, error_types, error_messages, tracebacks)
        as e (id, token, outcome, output, error_type, error_message, traceback)
      cross join lateral (
        select * from pgflow.step_tasks t where t.message_id = e.id and t.claim_token = e.token and e.outcome <> 'released'
        offset 0) t
      join pgflow.versions v on v.version_id = any (array[t.version_id])
      left join pgflow.steps s on s.version_id = any (array[t.version_id]) and s.step_slug = t.step_slug
      join pgflow.flows f on f.flow_slug = any (array[t.flow_slug])
      cross join lateral (
        select case when f.kind = 'machine' and e.outcome in ('next', 'await', 'spawn') and not exists (
          select from pgflow.steps g where g.version_id = t.version_id and g.step_slug = e.output ->> 'step')
          then coalesce(e.output ->> 'step', '?') end as bad_step) b
      cross join lateral (
        select e.outcome in ('next', 'await', 'retry', 'done', 'stop') and f.kind <> 'machine'
          or e.outcome = 'spawn' and f.kind = 'job' as wrong) w
    ), judged as (
      select f.message_id, f.claim_token, f.run_id, f.version_id, f.step_slug, f.task_index, f.attempts_count, f.started_at,
        f.can_fail_early, f.kind,
        case when f.outcome = 'failed' and f.attempts_count < f.max_attempts then 'retry'
          when f.kind = 'flow' and f.outcome not in ('completed', 'snooze', 'spawn') then f.when_exhausted
          when f.outcome in ('failed', 'failed_permanently', 'stop') then 'fail'
          when f.outcome = 'retry' then 'again' when f.outcome = 'done' then 'completed'
          else f.outcome end as verdict,
        f.output, case when f.outcome = 'stop' then coalesce(f.error_type, 'Stop') else f.error_type end as error_type,
        case when f.outcome in ('failed', 'failed_permanently', 'stop', 'cancelled')
          then coalesce(f.error_message, 'no reason was given') else f.error_message end as error_message,
        f.traceback,
        greatest(f.delay,                    -- nothing is tried in a hot loop
          case when f.outcome = 'retry' or (f.outcome = 'next' and f.output ->> 'step' = f.step_slug) then f.least_delay end,
          case when f.outcome = 'snooze' or (f.outcome = 'retry' and f.attempts_count > 5) then 0.1 end) as delay
      from found f
    ), marked as (
      select j.*, j.kind = 'flow' and j.verdict not in ('completed', 'retry', 'snooze', 'spawn') as exhausted,
        bool_or(j.can_fail_early or j.verdict not in ('completed', 'retry', 'snooze', 'spawn'))
          over (partition by j.run_id) and j.kind = 'flow' as ordered,
        min(j.message_id) over (
          partition by j.run_id, j.step_slug, j.verdict in ('completed', 'retry', 'snooze', 'spawn')) as first_id
      from judged j
    )
    select array_agg((
      m.message_id, m.claim_token, m.run_id, m.version_id, m.step_slug, m.task_index, m.attempts_count, m.started_at,
      m.can_fail_early, case when m.exhausted and m.message_id <> m.first_id then 'late' else m.verdict end, m.output,
      m.error_type, m.error_message, m.traceback, m.delay, m.round, m.kind)::pgflow.entry)
    from (
      select m.*, case when m.ordered then dense_rank() over (
          partition by m.run_id order by m.exhausted, case when not m.exhausted then m.step_slug end collate "C",
            case when m.exhausted then m.first_id end) - 1
        else 0 end as round
      from marked m
    ) m);
end
$$;

-- Seconds until the next attempt, the cap applied; jitter takes up to its share away. Exponential is pgflow's base * 2^attempts.
create or replace function pgflow.retry_delay(backoff text, base int, attempts int, max_delay int, jitter real) returns float8
language sql volatile as $$
  select least(
    case backoff when 'fixed' then base::float8 when 'linear' then base::float8 * attempts
      else floor(base * power(2::float8, least(attempts, 64))) end, coalesce(max_delay, 1e9)) * (1 - jitter * random());
$$;

create or replace function pgflow.calculate_retry_delay(base_delay numeric, attempts_count int) returns int
language sql immutable parallel safe set search_path = pg_catalog, pg_temp
begin atomic
  select floor(base_delay * power(2, attempts_count))::int;
end;
