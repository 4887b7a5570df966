-- EXPOSE: a flow's tasks under the names of a pgmq queue: the views pgmq.q_<slug> and pgmq.a_<slug>. In a schema pgmq that is
-- the extension's, they are made beside its tables, so that its functions read and move them too (docs/decisions/0021-pgmq.md).
-- The only SQL that is put together from names, which are the very thing that is asked for here: by format() alone.
-- Locks: what makes and drops queues takes turns, name by name: a deploy of several flows waits for no other's.

-- The views of a flow; made again as this version has them. Says in a notice why it made none.
create or replace function pgflow.expose_flow(slug text) returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
  ours constant boolean := pgflow.owns_pgmq();
  relation text;
begin
  if ours is null then
    return;
  end if;
  perform pgflow.hold_queue(slug);
  relation := case when ours then pgflow.queue_for_flow(slug) else pgflow.foreign_queue_for_flow(slug) end;
  if relation is not null then
    perform pgflow.make_views(slug, relation);
  end if;
exception when insufficient_privilege then
  raise notice 'flow % has no queue in schema pgmq: %', slug, sqlerrm
    using hint = 'Grant create on schema pgmq to the owner of schema pgflow, then run stepwell migrate.';
when undefined_table or undefined_column then
  raise notice 'flow % has no queue in schema pgmq, which is none of pgmq: %', slug, sqlerrm
    using hint = 'Workers of Stepwell serve it all the same. For queues, rename that schema, then run stepwell migrate.';
end
$$;

-- Names that differ in case alone are one to the extension, and to who looks for a free relation.
create or replace function pgflow.hold_queue(name text) returns void
language sql set search_path = pg_catalog, pg_temp as $$
  select pg_advisory_xact_lock(hashtext('stepwell.pgmq'), hashtext(lower(name)));
$$;

-- Whether schema pgmq is one of ours; null: there is none.
create or replace function pgflow.owns_pgmq() returns boolean
language sql stable set search_path = pg_catalog, pg_temp as $$
  select coalesce(pg_catalog.obj_description(n.oid, 'pg_namespace') like 'Stepwell:%', false)
  from pg_catalog.pg_namespace n where n.nspname = 'pgmq';
$$;

-- A queue of ours: it has the flow's name, also if that is long, or another flow's but for its case. A plain queue of that name
-- makes room as long as it is empty.
create or replace function pgflow.queue_for_flow(slug text) returns text
language plpgsql as $$
declare
  queue pgmq.meta;
  used boolean;
begin
  select * into queue from pgmq.meta m where m.queue_name = slug;
  if queue.flow_slug is null and queue.relation is not null then
    -- who is sending to it ends first: what they sent is not to go with the table
    execute format('lock table pgmq.%I, pgmq.%I', 'q_' || queue.relation, 'a_' || queue.relation);
    execute format('select exists (select from pgmq.%I) or exists (select from pgmq.%I)', 'q_' || queue.relation, 'a_' || queue.relation)
    into used;
    if used then
      raise notice 'flow % has no queue in schema pgmq: there is a plain queue of that name, which is not empty', slug
        using hint = 'Drop that queue, or give the flow another name; then run stepwell migrate.';
      return null;
    end if;
    perform pgmq.drop_queue(slug);
    queue.relation := null;
  end if;
  if queue.relation is null then
    queue.relation := pgmq.free_relation(slug);
    insert into pgmq.meta (queue_name, created_at, relation, flow_slug) values (slug, pgflow.now(), queue.relation, slug);
  end if;
  return queue.relation;
end
$$;

-- A queue among the extension's, which knows a queue by its name in lower case alone, of at most 47 characters.
create or replace function pgflow.foreign_queue_for_flow(slug text) returns text
language plpgsql as $$
declare
  taken constant text := (
    select case when c.relkind = 'v' then coalesce('flow ' || obj_description(c.oid, 'pg_class'), 'a view') else 'a queue' end
    from pg_class c
    where c.oid = to_regclass(format('pgmq.%I', 'q_' || lower(slug)))
      and obj_description(c.oid, 'pg_class') is distinct from slug);
begin
  if length(slug) > 47 or taken is not null then
    raise notice 'flow % has no queue in schema pgmq: %', slug,
      case when taken is null then 'the name is longer than 47 characters' else taken || ' has that name there' end
      using hint = 'Workers of Stepwell serve it all the same; for others, give it another name.';
    return null;
  end if;
  insert into pgmq.meta (queue_name, is_partitioned, is_unlogged)
  select slug, false, false where not exists (select from pgmq.meta m where m.queue_name = slug);
  -- its metrics ask the sequence of a queue
  execute format('create or replace view pgmq.%I as select s.last_value, s.is_called from pgflow.step_tasks_message_id_seq s',
    'q_' || lower(slug) || '_msg_id_seq');
  execute format('comment on view pgmq.%I is %L', 'q_' || lower(slug) || '_msg_id_seq', slug);
  return lower(slug);
end
$$;

-- The comment tells whose views they are.
create or replace function pgflow.make_views(slug text, relation text) returns void
language plpgsql as $$
begin
  execute format($sql$
    create or replace view pgmq.%1$I as
    select t.message_id as msg_id, t.read_ct, t.queued_at as enqueued_at,
      case when t.stage = 'running' then t.started_at + make_interval(secs => 2 + (
          select coalesce((
            select s.opt_timeout from pgflow.steps s where s.version_id = t.version_id and s.step_slug = t.step_slug), f.opt_timeout)
          from pgflow.flows f where f.flow_slug = t.flow_slug))
        when t.stage in ('ready', 'delayed') then t.ready_at else 'infinity' end as vt,
      pgflow.message_of(t.flow_slug, t.run_id, t.step_slug, t.task_index) as message, null::jsonb as headers
    from pgflow.step_tasks t
    -- so that each arm can be read from its index, and closed tasks are not
    where t.flow_slug = %3$L and (t.stage = 'ready' or (t.stage = 'delayed' and not t.waiting) or t.stage = 'running'
      or t.stage = 'blocked' or t.stage = 'paused');
    create or replace trigger message_moves instead of insert or update or delete on pgmq.%1$I
    for each row execute function pgflow.move_message(%3$L);
    comment on view pgmq.%1$I is %3$L;

    create or replace view pgmq.%2$I as
    select t.message_id as msg_id, t.read_ct, t.queued_at as enqueued_at,
      coalesce(t.completed_at, t.failed_at, (
        select coalesce(r.completed_at, r.failed_at, r.cancelled_at) from pgflow.runs r where r.run_id = t.run_id),
        t.queued_at) as archived_at,
      t.ready_at as vt, pgflow.message_of(t.flow_slug, t.run_id, t.step_slug, t.task_index) as message, null::jsonb as headers
    from pgflow.step_tasks t
    where t.flow_slug = %3$L and t.stage = 'closed';
    create or replace trigger message_stays instead of insert or update or delete on pgmq.%2$I
    for each row execute function pgflow.keep_archive(%3$L);
    comment on view pgmq.%2$I is %3$L
  $sql$, 'q_' || relation, 'a_' || relation, slug);
end
$$;

-- Whose tasks a queue of pgmq, ours or the extension's, shows; null: it is a plain one, or none.
create or replace function pgflow.flow_of_queue(queue_name text) returns text
language sql stable set search_path = pg_catalog, pg_temp as $$
  select pg_catalog.obj_description(c.oid, 'pg_class') from pg_catalog.pg_class c
  where c.oid = to_regclass(format('pgmq.%I', pgmq.format_table_name(queue_name, 'q'))) and c.relkind = 'v';
$$;

-- Writes to pgmq.q_<slug>: of a message that is ready or delayed, vt and read_ct can be set. A row that does not change is left
-- out of the answer.
create or replace function pgflow.move_message() returns trigger
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
  if tg_op = 'INSERT' then
    perform pgflow.raise('PF409',
      format('queue %L is that of flow %L, whose tasks are its messages: pgmq cannot send to it', tg_argv[0], tg_argv[0]),
      'Start a run: pgflow.start_flow().');
  elsif tg_op = 'DELETE' then
    perform pgflow.keep_messages(tg_argv[0], array[old.msg_id], 'delete');
    return null;
  elsif (new.msg_id, new.enqueued_at, new.message) is distinct from (old.msg_id, old.enqueued_at, old.message) then
    perform pgflow.raise('PF409', format('message %s is a task of flow %L: only its vt and read_ct can be set', old.msg_id, tg_argv[0]));
  elsif new.vt is null or new.read_ct is null then
    raise not_null_violation using message = format('vt and read_ct of message %s cannot be null', old.msg_id);
  end if;
  perform pgflow.hide_tasks(tg_argv[0], array[old.msg_id], array[new.vt], array[new.read_ct]);
  return case when found then new end;
end
$$;

-- pgmq.a_<slug> only tells: a task goes when its run is pruned. Who archives is told that there was nothing to archive.
create or replace function pgflow.keep_archive() returns trigger
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
  if tg_op <> 'DELETE' then
    perform pgflow.raise('PF409', format('the archive of flow %L holds its closed tasks: it cannot be written', tg_argv[0]),
      'A message ends with its task: pgflow.complete_task(), pgflow.fail_task() or pgflow.cancel_run().');
  end if;
  return null;
end
$$;

-- Every flow that has no views yet, and those that have them as this version makes them.
create or replace function pgflow.expose_flows() returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
  slug text;
begin
  for slug in select f.flow_slug from pgflow.flows f where f.kind = 'flow' order by f.created_at, f.flow_slug loop
    perform pgflow.expose_flow(slug);
  end loop;
end
$$;

-- A flow is deleted: its views go with it.
create or replace function pgflow.conceal_flow(slug text) returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
  relation text;
begin
  if pgflow.owns_pgmq() is null then
    return;
  end if;
  perform pgflow.hold_queue(slug);
  for relation in
    select c.relname from pg_catalog.pg_class c
    where c.relnamespace = 'pgmq'::regnamespace and c.relkind = 'v' and pg_catalog.obj_description(c.oid, 'pg_class') = slug
  loop
    execute format('drop view pgmq.%I', relation);
    execute 'delete from pgmq.meta m where m.queue_name = $1' using slug;
  end loop;
  delete from pgflow.announced a where a.flow_slug = slug;
  if pgflow.owns_pgmq() then
    execute 'delete from pgmq.notify_insert_throttle n where n.queue_name = $1' using slug;
  end if;
end
$$;
