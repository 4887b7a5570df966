-- JUDGE: what an outcome means for its task: done, tried again and when, or out of attempts.
-- Nothing here writes.

-- What each outcome means for its task, as long as the token is still the task's.
create or replace function pgflow.judge_entries(
  message_ids bigint[], tokens bigint[], outcomes text[], outputs jsonb[],
  error_types text[], error_messages text[], tracebacks text[]
) returns pgflow.entry[]
language plpgsql stable as $$
begin
  return (
    with judged as (
      select t.message_id, t.claim_token, t.run_id, t.version_id, t.step_slug, t.task_index, t.attempts_count, t.started_at,
        v.can_fail_early,
        case when e.outcome = 'completed' then 'completed'
          when e.outcome = 'failed' and t.attempts_count < coalesce(s.opt_max_attempts, f.opt_max_attempts) then 'retry'
          else s.when_exhausted end as verdict,
        e.output, e.error_type,
        case when e.outcome <> 'completed' then coalesce(e.error_message, 'no reason was given') end as error_message,
        e.traceback,
        pgflow.retry_delay(
          coalesce(s.opt_base_delay, f.opt_base_delay), t.attempts_count,
          coalesce(s.opt_max_delay, f.opt_max_delay), coalesce(s.opt_jitter, f.opt_jitter)) as delay
      from unnest(message_ids, tokens, outcomes, outputs, error_types, error_messages, tracebacks)
        as e (id, token, outcome, output, error_type, error_message, traceback)
      cross join lateral (
        select * from pgflow.step_tasks t where t.message_id = e.id and t.claim_token = e.token offset 0) t
      join pgflow.versions v on v.version_id = any (array[t.version_id])
      join pgflow.steps s on s.version_id = any (array[t.version_id]) and s.step_slug = t.step_slug
      join pgflow.flows f on f.flow_slug = any (array[t.flow_slug])
    ), marked as (
      select j.*, j.verdict not in ('completed', 'retry') as exhausted,
        bool_or(j.can_fail_early or j.verdict not in ('completed', 'retry')) over (partition by j.run_id) as ordered,
        min(j.message_id) over (
          partition by j.run_id, j.step_slug, j.verdict in ('completed', 'retry')) as first_id
      from judged j
    )
    select array_agg((
      m.message_id, m.claim_token, m.run_id, m.version_id, m.step_slug, m.task_index, m.attempts_count, m.started_at,
      m.can_fail_early, case when m.exhausted and m.message_id <> m.first_id then 'late' else m.verdict end, m.output,
      m.error_type, m.error_message, m.traceback, m.delay, m.round)::pgflow.entry)
    from (
      select m.*, case when m.ordered then dense_rank() over (
          partition by m.run_id order by m.exhausted, case when not m.exhausted then m.step_slug end collate "C",
            case when m.exhausted then m.first_id end) - 1
        else 0 end as round
      from marked m
    ) m);
end
$$;

-- Seconds until the next attempt: base * 2^attempts as pgflow has it, then the cap; jitter takes up to its share away.
create or replace function pgflow.retry_delay(base int, attempts int, max_delay int, jitter real) returns float8
language sql volatile as $$
  select least(floor(base * power(2::float8, least(attempts, 64))), coalesce(max_delay, 1e9))
    * (1 - jitter * random());
$$;

create or replace function pgflow.calculate_retry_delay(base_delay numeric, attempts_count int) returns int
language sql immutable parallel safe set search_path = ''
begin atomic
  select floor(base_delay * power(2, attempts_count))::int;
end;
