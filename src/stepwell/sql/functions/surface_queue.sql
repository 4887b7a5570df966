-- SURFACE, queue: what pgflow adds to pgmq.

-- Set until when each of these messages is invisible: so many seconds from now. Ids that are not there are left out.
create or replace function pgflow.set_vt_batch(queue_name text, msg_ids bigint[], vt_offsets int[])
returns table (msg_id bigint, read_ct int, enqueued_at timestamptz, vt timestamptz, message jsonb, headers jsonb)
language plpgsql set search_path = '' as $$
begin
  if msg_ids is null or vt_offsets is null then
    return;
  elsif cardinality(msg_ids) <> cardinality(vt_offsets) then
    raise exception 'msg_ids length (%) must equal vt_offsets length (%)', cardinality(msg_ids), cardinality(vt_offsets);
  elsif msg_ids = '{}' then
    return;
  end if;
  return query execute format(
    'update pgmq.%I q set vt = $3 + make_interval(secs => o.secs)
     from (select distinct on (u.id) u.id, u.secs from unnest($1, $2) with ordinality u (id, secs, place) order by u.id, u.place desc) o
     where q.msg_id = o.id
     returning q.msg_id, q.read_ct, q.enqueued_at, q.vt, q.message, q.headers', pgmq.format_table_name(queue_name, 'q'))
  using msg_ids, vt_offsets, pgflow.now();
end
$$;

-- What workers of long ago called. They get nothing, and are told what to call.
create or replace function pgflow.poll_for_tasks(
  queue_name text, vt int, qty int, max_poll_seconds int default 5, poll_interval_ms int default 100
) returns setof pgflow.step_task_record
language plpgsql set search_path = '' as $$
begin
  raise notice 'poll_for_tasks is deprecated and returns nothing: call pgmq.read_with_poll, then pgflow.start_tasks';
end
$$;
