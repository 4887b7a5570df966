-- METRICS: how long a queue is, and how old what is in it. Of a flow's queue `total_messages` counts the tasks that are
-- still stored.

create or replace function pgmq.metrics(queue_name text) returns pgmq.metrics_result
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
  queue constant pgmq.meta := pgmq.queue_named(metrics.queue_name);
  relation constant text := pgmq.format_table_name(metrics.queue_name, 'q');
  at constant timestamptz := pgflow.now();
  result pgmq.metrics_result;
  total bigint;
begin
  execute format($sql$
    select $1, count(*), extract(epoch from $2 - max(m.enqueued_at))::int, extract(epoch from $2 - min(m.enqueued_at))::int,
      0, $2, count(*) filter (where m.vt <= $2)
    from pgmq.%I m
  $sql$, relation) into result using coalesce(queue.queue_name, metrics.queue_name), at;
  if queue.flow_slug is null then
    execute format('select s.last_value * s.is_called::int from %s s', pg_get_serial_sequence(format('pgmq.%I', relation), 'msg_id'))
    into total;
  else
    total := pgflow.count_tasks(queue.flow_slug);
  end if;
  result.total_messages := total;
  return result;
end
$$;

create or replace function pgmq.metrics_all() returns setof pgmq.metrics_result
language sql stable set search_path = pg_catalog, pg_temp as $$
  select m.* from pgmq.meta q cross join lateral pgmq.metrics(q.queue_name) m order by q.queue_name;
$$;
