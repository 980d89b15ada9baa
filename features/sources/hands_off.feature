Feature: What is not ours is left alone

  Nodes of others are queried and submitted to. Anything else is refused before anything is
  started, unless the feature opts in by name and the provider that found the node can do it.

  Rule: A step that would touch a node of others is refused up front

    Scenario Outline: <step>
      Given 1 node that somebody else runs
      When I run the harness on this feature:
        """
        Feature: Hands off
          Scenario: A node of others beside ours
            Given external nodes:
              | node | url               |
              | LAB  | env(THEIRS_1_URL) |
            And a cluster of 1 node
            When <step>
        """
      Then the exit code is 2
      And it prints "refused to <what> LAB: it is borrowed"
      And it prints '<step>'
      And it prints "nothing was started"
      And none of its 0 processes is left within 1 second
      And the nodes that somebody else runs never noticed

      Examples:
        | step                                                       | what         |
        | I start LAB                                                | start        |
        | I stop LAB                                                 | stop         |
        | I kill LAB                                                 | kill         |
        | I restart LAB                                              | restart      |
        | I pause LAB                                                | pause        |
        | I resume LAB                                               | resume       |
        | I restart LAB with user config override "log.level" as "1" | patch the configuration of |
        | I create a snapshot "s" of LAB                             | save the data of |
        | I restore LAB from snapshot "s" of LAB                     | restore the data of |

    Scenario: What is done to all nodes is done to ours
      Given 2 nodes that somebody else runs
      And the nodes that somebody else runs are external nodes of this scenario
      And a cluster of 1 node
      When I restart all nodes
      And I stop all nodes
      And I start the stopped nodes
      Then NODE_1 is running
      And the nodes that somebody else runs never noticed

    Scenario: An opt-in for an external node opens nothing, since nobody could do it
      Given 1 node that somebody else runs
      When I run the harness on this feature:
        """
        Feature: Hands off
          Scenario: Nobody can
            Given external nodes:
              | node | url               |
              | LAB  | env(THEIRS_1_URL) |
            And LAB may be paused and resumed although it is borrowed
            When the nodes are ready
            And I pause LAB
        """
      Then the exit code is 2
      And it prints "cannot pause LAB: it would need the capability"
      And the nodes that somebody else runs never noticed

  Rule: An opt-in opens what it names, and is written down

    Scenario: A borrowed node is paused and resumed, with leave
      Given 3 nodes that somebody else runs
      And the nodes that somebody else runs are attached through "signals"
      And THEIRS_2 may be paused and resumed although it is borrowed
      When the nodes are ready
      And I pause THEIRS_2
      Then THEIRS_2 is paused
      And the journal says "opted in by the feature: pause THEIRS_2, which is borrowed"
      When I resume THEIRS_2
      Then every node answers within 15 seconds
      And the nodes that somebody else runs never noticed

  Rule: However our run ends, their cluster never notices

    Background:
      Given 3 nodes that somebody else runs

    Scenario: Green
      When I run the harness on this feature:
        """
        Feature: Beside theirs
          Scenario: Passes
            Given external nodes:
              | node | url               |
              | LAB  | env(THEIRS_1_URL) |
              | LAB2 | env(THEIRS_2_URL) |
              | LAB3 | env(THEIRS_3_URL) |
            And a cluster of 2 nodes
            Then NODE_1 is running
        """
      Then the exit code is 0
      And none of its 2 processes is left within 5 seconds
      And nothing of that run is left
      And the nodes that somebody else runs never noticed

    Scenario: Red
      When I run the harness on this feature:
        """
        Feature: Beside theirs
          Scenario: Fails
            Given external nodes:
              | node | url               |
              | LAB  | env(THEIRS_1_URL) |
              | LAB2 | env(THEIRS_2_URL) |
              | LAB3 | env(THEIRS_3_URL) |
            And a cluster of 2 nodes
            When I kill NODE_2
            Then NODE_2 is running
        """
      Then the exit code is 1
      And none of its 2 processes is left within 5 seconds
      And nothing of that run is left
      And the nodes that somebody else runs never noticed

    Scenario: Ctrl-C
      When I start the harness on this feature:
        """
        Feature: Beside theirs
          Scenario: Waits for what cannot be
            Given external nodes:
              | node | url               |
              | LAB  | env(THEIRS_1_URL) |
              | LAB2 | env(THEIRS_2_URL) |
              | LAB3 | env(THEIRS_3_URL) |
            And a cluster of 2 nodes
            Then 9 nodes have a vote within 60 seconds
        """
      Then it prints "9 voters" within 40 seconds
      When I interrupt the harness
      Then the harness ends within 15 seconds
      And the exit code is 130
      And none of its 2 processes is left within 5 seconds
      And nothing of that run is left
      And the nodes that somebody else runs never noticed

    Scenario: kill -9, and trellis clean after it
      When I start the harness on this feature:
        """
        Feature: Beside theirs
          Scenario: Waits for what cannot be
            Given external nodes:
              | node | url               |
              | LAB  | env(THEIRS_1_URL) |
              | LAB2 | env(THEIRS_2_URL) |
              | LAB3 | env(THEIRS_3_URL) |
            And a cluster of 2 nodes
            Then 9 nodes have a vote within 60 seconds
        """
      Then it prints "9 voters" within 40 seconds
      When I kill the harness
      Then none of its 2 processes is left within 10 seconds
      When I run trellis clean
      Then nothing of that run is left
      And the nodes that somebody else runs never noticed
