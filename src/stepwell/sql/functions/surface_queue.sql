-- SURFACE, queue: what pgflow adds to pgmq.

-- Set until when each of these messages is invisible: so many seconds from now. Ids that are not there are left out.
create or replace function pgflow.set_vt_batch(queue_name text, msg_ids bigint[], vt_offsets int[])
returns table (msg_id bigint, read_ct int, enqueued_at timestamptz, vt timestamptz, message jsonb, headers jsonb)
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
  ids bigint[];
  times timestamptz[];
  flow text;
begin
  if msg_ids is null or vt_offsets is null then
    return;
  elsif cardinality(msg_ids) <> cardinality(vt_offsets) then
    raise exception 'msg_ids length (%) must equal vt_offsets length (%)', cardinality(msg_ids), cardinality(vt_offsets);
  elsif msg_ids = '{}' then
    return;
  end if;
  select array_agg(o.id), array_agg(pgflow.now() + make_interval(secs => o.secs)) into ids, times
  from (select distinct on (u.id) u.id, u.secs from unnest(msg_ids, vt_offsets) with ordinality u (id, secs, place)
    order by u.id, u.place desc) o;
  flow := pgflow.flow_of_queue(queue_name);
  if flow is not null then
    return query select * from pgflow.hide_tasks(flow, ids, times);
    return;
  end if;
  return query execute format(
    'update pgmq.%I q set vt = o.visible_at from unnest($1, $2) o (id, visible_at) where q.msg_id = o.id
     returning q.msg_id, q.read_ct, q.enqueued_at, q.vt, q.message, q.headers', pgmq.format_table_name(queue_name, 'q'))
  using ids, times;
end
$$;

-- What workers of long ago called. They get nothing, and are told what to call.
create or replace function pgflow.poll_for_tasks(
  queue_name text, vt int, qty int, max_poll_seconds int default 5, poll_interval_ms int default 100
) returns setof pgflow.step_task_record
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
  raise notice 'poll_for_tasks is deprecated and returns nothing: call pgmq.read_with_poll, then pgflow.start_tasks';
end
$$;
