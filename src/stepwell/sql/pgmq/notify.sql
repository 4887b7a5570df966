-- NOTIFY: inserts (of a flow, those of ready tasks) are announced on the channel `pgmq.q_<name>.INSERT`, at most once per
-- interval. Who is told reads until nothing is left, and looks again after the interval: what was sent meanwhile had no
-- notification of its own.

-- Of several callers the shortest interval counts. Who drops the queue, or makes it, comes before or after.
create or replace function pgmq.enable_notify_insert(queue_name text, throttle_interval_ms int default 250) returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
  queue pgmq.meta;
begin
  if throttle_interval_ms < 0 then
    perform pgflow.raise('PF422', format('throttle_interval_ms is 0 or more, unlike %s', throttle_interval_ms));
  end if;
  queue := pgmq.queue_named(enable_notify_insert.queue_name);
  perform pgflow.hold_queue(coalesce(queue.queue_name, enable_notify_insert.queue_name));
  queue := pgmq.queue_named(enable_notify_insert.queue_name);
  if queue.queue_name is null then
    raise undefined_table using              -- as with all else that is asked of an unknown queue
      message = format('relation "pgmq.%s" does not exist', pgmq.format_table_name(enable_notify_insert.queue_name, 'q')),
      hint = format('There is no queue %L: make it first with pgmq.create().', enable_notify_insert.queue_name);
  end if;
  if queue.flow_slug is not null then
    insert into pgflow.announced (flow_slug) values (queue.flow_slug) on conflict do nothing;
  elsif not exists (
    select from pg_catalog.pg_trigger t where t.tgrelid = format('pgmq.%I', 'q_' || queue.relation)::regclass and t.tgname = 'notify_insert')
  then                                       -- not again: it would wait for who is sending
    execute format(
      'create trigger notify_insert after insert on pgmq.%I for each statement execute function pgmq.notify_insert(%L)',
      'q_' || queue.relation, queue.queue_name);
  end if;
  insert into pgmq.notify_insert_throttle as n (queue_name, throttle_interval_ms)
  values (queue.queue_name, enable_notify_insert.throttle_interval_ms)
  on conflict on constraint notify_insert_throttle_pkey do update
  set throttle_interval_ms = least(n.throttle_interval_ms, excluded.throttle_interval_ms), callers = n.callers + 1;
end
$$;

-- Takes back one enable_notify_insert. Others who called it are still told: it ends with the last of them.
create or replace function pgmq.disable_notify_insert(queue_name text) returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
  queue constant pgmq.meta := pgmq.queue_named(disable_notify_insert.queue_name);
  relation constant text := pgmq.format_table_name(disable_notify_insert.queue_name, 'q');
  others int;
begin
  perform pgflow.hold_queue(queue.queue_name);
  update pgmq.notify_insert_throttle n set callers = n.callers - 1 where n.queue_name = queue.queue_name returning n.callers into others;
  if others > 0 then
    return;
  end if;
  delete from pgmq.notify_insert_throttle n where n.queue_name = queue.queue_name;
  delete from pgflow.announced a where a.flow_slug = queue.flow_slug;
  if queue.flow_slug is null then
    execute format('drop trigger if exists notify_insert on pgmq.%I', relation);
  end if;
end
$$;

create or replace function pgmq.notify_insert() returns trigger
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
  perform pgmq.announce(array[tg_argv[0]]);
  return null;
end
$$;

-- Who finds the row of a queue locked leaves it: somebody announces that queue in this moment, or goes back on it. Then the row is
-- as it was, and the next insert is announced; what was left to it until then is found by who looks now and then, as all must: what
-- is sent within the interval and committed long after it is announced by nobody.
create or replace function pgmq.announce(names text[]) returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
  at constant timestamptz := pgflow.now();
  name text;
begin
  for name in
    with due as (
      select n.queue_name from pgmq.notify_insert_throttle n
      where n.queue_name = any (names) and n.last_notified_at <= at - make_interval(secs => n.throttle_interval_ms / 1000.0)
      order by n.queue_name for update skip locked
    )
    update pgmq.notify_insert_throttle n set last_notified_at = at from due d where n.queue_name = d.queue_name
    returning n.queue_name
  loop
    perform pg_notify('pgmq.' || pgmq.format_table_name(name, 'q') || '.INSERT', '');
  end loop;
end
$$;
